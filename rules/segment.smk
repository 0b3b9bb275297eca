# REQUIRED INPUTS  results/<plate>/raw.ome.zarr, complete
# OUTPUTS          label images inside it, told of by records/segment; calibration.json, told of by records/calibrate


rule calibrate:
    """Choose intensity ranges and object diameters, once per plate."""
    input:
        manifest=PLATE + "/manifest.json",
        complete=PLATE + "/records/complete/plate.json",
    output:
        record=PLATE + "/records/calibrate/plate.json",
    params:
        settings=settings_of("segment"),
        wells=wells_of_plate,
        code=code_digest("calibrate"),
        weights=weights_of,
    log:
        PLATE + "/logs/calibrate/plate.log",
    benchmark:
        PLATE + "/benchmarks/calibrate/plate.tsv"
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    conda:
        "../envs/gpu.yaml"
    shell:
        r"""
        python -m pipeline_lib calibrate \
            --plate "$(dirname {input.manifest:q})" \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """


rule segment:
    """Label the nuclei and cells of a batch of wells."""
    input:
        manifest=PLATE + "/manifest.json",
        calibrate=PLATE + "/records/calibrate/plate.json",
    output:
        record=PLATE + "/records/segment/{batch}.json",
    params:
        settings=settings_of("segment"),
        wells=wells_of("segment"),
        code=code_digest("segment"),
        weights=weights_of,
    log:
        PLATE + "/logs/segment/{batch}.log",
    benchmark:
        PLATE + "/benchmarks/segment/{batch}.tsv"
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    conda:
        "../envs/gpu.yaml"
    shell:
        r"""
        python -m pipeline_lib segment \
            --plate "$(dirname {input.manifest:q})" \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
