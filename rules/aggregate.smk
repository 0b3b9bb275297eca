# REQUIRED INPUTS  results/<plate>/cells/*.parquet and, if there is one, the plate map
# OUTPUTS          results/<plate>/wells.parquet, wells.csv, profiles.parquet, zprime.csv


rule aggregate:
    """Summarise cells per well, join the plate map, compare with the controls."""
    input:
        manifest=PLATE + "/manifest.json",
        cells=records_of("measure"),
        plate_map=plate_map_of,
    output:
        record=HOME + "/records/aggregate/plate.json",
        tables=multiext(
            HOME + "/", "wells.parquet", "wells.csv", "profiles.parquet", "zprime.csv"
        ),
    params:
        analysis=NAMED,
        settings=settings_of("aggregate"),
        wells=wells_of_plate,
        plate_map=lambda wildcards, input: (
            ["--plate-map", input.plate_map] if input.plate_map else []
        ),
        code=code_digest("aggregate"),
    log:
        HOME + "/logs/aggregate/plate.log",
    benchmark:
        HOME + "/benchmarks/aggregate/plate.tsv"
    resources:
        mem_mb=memory_of("aggregate"),
        runtime=minutes_of("aggregate"),
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib aggregate \
            --plate "$(dirname {input.manifest:q})" \
            {params.analysis:q} \
            {params.plate_map:q} \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
