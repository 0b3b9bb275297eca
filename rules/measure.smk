# REQUIRED INPUTS  raw intensities and label images in results/<plate>/raw.ome.zarr
# OUTPUTS          results/<plate>/cells/<well>.parquet, told of by records/measure


rule measure:
    """Measure every cell of a batch of wells."""
    input:
        manifest=PLATE + "/manifest.json",
        segment=records_before("segment", then="measure"),
    output:
        record=PLATE + "/records/measure/{batch}.json",
    params:
        settings=settings_of("measure"),
        wells=wells_of("measure"),
        code=code_digest("measure"),
    log:
        PLATE + "/logs/measure/{batch}.log",
    benchmark:
        PLATE + "/benchmarks/measure/{batch}.tsv"
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib measure \
            --plate "$(dirname {input.manifest:q})" \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
