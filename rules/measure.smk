# REQUIRED INPUTS  intensities and label images in results/<plate>/raw.ome.zarr
# OUTPUTS          results/<plate>/cells/<well>.parquet, told of by records/measure


rule measure:
    """Measure every cell of a batch of wells."""
    input:
        manifest=PLATE + "/manifest.json",
        segment=records_before("segment", then="measure"),
        restore=restored_for("measure"),
        retry=retry_of("measure"),
    output:
        record=HOME + "/records/measure/{batch}.json",
    params:
        analysis=NAMED,
        settings=settings_of("measure"),
        wells=wells_of("measure"),
        code=code_digest("measure"),
    log:
        HOME + "/logs/measure/{batch}.log",
    benchmark:
        HOME + "/benchmarks/measure/{batch}.tsv"
    resources:
        mem_mb=memory_of("measure"),
        runtime=minutes_of("measure"),
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib measure \
            --plate "$(dirname {input.manifest:q})" \
            {params.analysis:q} \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
