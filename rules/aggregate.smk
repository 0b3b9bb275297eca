# REQUIRED INPUTS  results/<plate>/cells/*.parquet and, if there is one, the plate map
# OUTPUTS          results/<plate>/wells.parquet, wells.csv, profiles.parquet, zprime.csv


rule aggregate:
    """Summarise cells per well, join the plate map, compare with the controls."""
    input:
        manifest=PLATE + "/manifest.json",
        cells=records_of("measure"),
        plate_map=plate_map_of,
    output:
        record=PLATE + "/records/aggregate/plate.json",
        tables=multiext(
            PLATE + "/", "wells.parquet", "wells.csv", "profiles.parquet", "zprime.csv"
        ),
    params:
        settings=settings_of("aggregate"),
        wells=wells_of_plate,
        plate_map=lambda wildcards, input: (
            ["--plate-map", input.plate_map] if input.plate_map else []
        ),
        code=code_digest("aggregate"),
    log:
        PLATE + "/logs/aggregate/plate.log",
    benchmark:
        PLATE + "/benchmarks/aggregate/plate.tsv"
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib aggregate \
            --plate "$(dirname {input.manifest:q})" \
            {params.plate_map:q} \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
