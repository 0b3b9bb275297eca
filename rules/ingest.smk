# REQUIRED INPUTS  results/<plate>/manifest.json (made while the Snakefile is parsed) and the raw files it names
# OUTPUTS          results/<plate>/raw.ome.zarr, told of by records/skeleton, records/ingest and records/complete;
#                  where images are corrected, results/<plate>/illumination and records/illuminate


rule skeleton:
    """Write the plate and row groups, so that ingest jobs only add wells of their own."""
    input:
        manifest=PLATE + "/manifest.json",
    output:
        record=PLATE + "/records/skeleton/plate.json",
    params:
        settings=settings_of("ingest"),
        code=code_digest("skeleton"),
    log:
        PLATE + "/logs/skeleton/plate.log",
    benchmark:
        PLATE + "/benchmarks/skeleton/plate.tsv"
    resources:
        mem_mb=memory_of("skeleton"),
        runtime=minutes_of("skeleton"),
    localrule: True
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib skeleton \
            --plate "$(dirname {input.manifest:q})" \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """


rule illuminate:
    """Tell how unevenly each channel is lit, once per plate, where images are corrected for it."""
    input:
        manifest=PLATE + "/manifest.json",
        skeleton=PLATE + "/records/skeleton/plate.json",
    output:
        record=PLATE + "/records/illuminate/plate.json",
    params:
        settings=settings_of("ingest"),
        code=code_digest("illuminate"),
    log:
        PLATE + "/logs/illuminate/plate.log",
    benchmark:
        PLATE + "/benchmarks/illuminate/plate.tsv"
    resources:
        mem_mb=memory_of("illuminate"),
        runtime=minutes_of("illuminate"),
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib illuminate \
            --plate "$(dirname {input.manifest:q})" \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """


rule ingest:
    """Convert a batch of wells from vendor files to OME-Zarr."""
    input:
        manifest=PLATE + "/manifest.json",
        skeleton=PLATE + "/records/skeleton/plate.json",
        light=light_of,
        retry=retry_of("ingest"),
    output:
        record=PLATE + "/records/ingest/{batch}.json",
    params:
        settings=settings_of("ingest"),
        wells=wells_of("ingest"),
        code=code_digest("ingest"),
    log:
        PLATE + "/logs/ingest/{batch}.log",
    benchmark:
        PLATE + "/benchmarks/ingest/{batch}.tsv"
    resources:
        mem_mb=memory_of("ingest"),
        runtime=minutes_of("ingest"),
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib ingest \
            --plate "$(dirname {input.manifest:q})" \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """


rule complete:
    """Make the plate's well list exactly the committed wells."""
    input:
        manifest=PLATE + "/manifest.json",
        wells=records_of("ingest"),
    output:
        record=PLATE + "/records/complete/plate.json",
    params:
        settings=settings_of("ingest"),
        wells=wells_of_plate,
        code=code_digest("complete"),
    log:
        PLATE + "/logs/complete/plate.log",
    benchmark:
        PLATE + "/benchmarks/complete/plate.tsv"
    resources:
        mem_mb=memory_of("complete"),
        runtime=minutes_of("complete"),
    localrule: True
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib complete \
            --plate "$(dirname {input.manifest:q})" \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
