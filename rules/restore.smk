# REQUIRED INPUTS  results/<plate>/raw.ome.zarr, complete, and its object diameters; only where a channel is restored
# OUTPUTS          results/<plate>/restored.ome.zarr, told of by records/prepare, records/restore and records/conclude


rule prepare:
    """Write the restored plate's groups, choose intensity ranges and diameters, once per plate."""
    input:
        manifest=PLATE + "/manifest.json",
        calibrate=HOME + "/records/calibrate/plate.json",
    output:
        record=HOME + "/records/prepare/plate.json",
    params:
        analysis=NAMED,
        settings=settings_of("restore"),
        wells=wells_of_plate,
        code=code_digest("prepare"),
        weights=restoring_weights_of,
    log:
        HOME + "/logs/prepare/plate.log",
    benchmark:
        HOME + "/benchmarks/prepare/plate.tsv"
    resources:
        mem_mb=memory_of("prepare"),
        runtime=minutes_of("prepare"),
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib prepare \
            --plate "$(dirname {input.manifest:q})" \
            {params.analysis:q} \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """


rule restore:
    """Denoise, deblur or enlarge the images of a batch of wells."""
    input:
        manifest=PLATE + "/manifest.json",
        prepare=HOME + "/records/prepare/plate.json",
        retry=retry_of("restore"),
    output:
        record=HOME + "/records/restore/{batch}.json",
        ready=temp(touch(HOME + "/ready/{batch}")),
    params:
        analysis=NAMED,
        settings=settings_of("restore"),
        wells=wells_of("restore"),
        code=code_digest("restore"),
        weights=restoring_weights_of,
    log:
        HOME + "/logs/restore/{batch}.log",
    benchmark:
        HOME + "/benchmarks/restore/{batch}.tsv"
    threads: NEEDS["restore"].threads
    resources:
        mem_mb=memory_of("restore"),
        runtime=minutes_of("restore"),
        gpu=gpus_of("restore"),
    conda:
        "../envs/gpu.yaml"
    shell:
        r"""
        python -m pipeline_lib restore \
            --plate "$(dirname {input.manifest:q})" \
            {params.analysis:q} \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """


rule conclude:
    """List the restored wells in their plate; where they are temporary, delete them."""
    input:
        manifest=PLATE + "/manifest.json",
        restore=records_of("restore"),
        readers=last_readers_of_restored,
    output:
        record=HOME + "/records/conclude/plate.json",
    params:
        analysis=NAMED,
        settings=settings_of("restore"),
        wells=wells_of_plate,
        code=code_digest("conclude"),
    log:
        HOME + "/logs/conclude/plate.log",
    benchmark:
        HOME + "/benchmarks/conclude/plate.tsv"
    resources:
        mem_mb=memory_of("conclude"),
        runtime=minutes_of("conclude"),
    localrule: True
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib conclude \
            --plate "$(dirname {input.manifest:q})" \
            {params.analysis:q} \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
