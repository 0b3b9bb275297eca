# REQUIRED INPUTS  results/<plate>/raw.ome.zarr, complete
# OUTPUTS          label images inside it, told of by records/segment; calibration.json, told of by records/calibrate


rule calibrate:
    """Choose intensity ranges and object diameters, once per plate."""
    input:
        manifest=PLATE + "/manifest.json",
        complete=PLATE + "/records/complete/plate.json",
    output:
        record=HOME + "/records/calibrate/plate.json",
    params:
        analysis=NAMED,
        settings=settings_of("segment"),
        wells=wells_of_plate,
        code=code_digest("calibrate"),
        weights=calibrating_weights_of,
    log:
        HOME + "/logs/calibrate/plate.log",
    benchmark:
        HOME + "/benchmarks/calibrate/plate.tsv"
    threads: NEEDS["calibrate"].threads
    resources:
        mem_mb=memory_of("calibrate"),
        runtime=minutes_of("calibrate"),
        gpu=gpus_of("calibrate"),
    conda:
        "../envs/gpu.yaml"
    shell:
        r"""
        python -m pipeline_lib calibrate \
            --plate "$(dirname {input.manifest:q})" \
            {params.analysis:q} \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """


rule segment:
    """Label the nuclei and cells of a batch of wells."""
    input:
        manifest=PLATE + "/manifest.json",
        calibrate=HOME + "/records/calibrate/plate.json",
        restore=restored_for("segment"),
        retry=retry_of("segment"),
    output:
        record=HOME + "/records/segment/{batch}.json",
    params:
        analysis=NAMED,
        settings=settings_of("segment"),
        wells=wells_of("segment"),
        code=code_digest("segment"),
        weights=weights_of,
    log:
        HOME + "/logs/segment/{batch}.log",
    benchmark:
        HOME + "/benchmarks/segment/{batch}.tsv"
    threads: NEEDS["segment"].threads
    resources:
        mem_mb=memory_of("segment"),
        runtime=minutes_of("segment"),
        gpu=gpus_of("segment"),
    conda:
        "../envs/gpu.yaml"
    shell:
        r"""
        python -m pipeline_lib segment \
            --plate "$(dirname {input.manifest:q})" \
            {params.analysis:q} \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
