# REQUIRED INPUTS  the tables of aggregate, the records of all stages, pictures from results/<plate>/raw.ome.zarr
# OUTPUTS          results/<plate>/report.html


rule report:
    """One self-contained page about the plate."""
    input:
        manifest=PLATE + "/manifest.json",
        aggregate=HOME + "/records/aggregate/plate.json",
        restore=restored_records,
    output:
        record=HOME + "/records/report/plate.json",
        report=HOME + "/report.html",
    params:
        analysis=NAMED,
        settings=settings_of("report"),
        wells=wells_of_plate,
        code=code_digest("report"),
    log:
        HOME + "/logs/report/plate.log",
    benchmark:
        HOME + "/benchmarks/report/plate.tsv"
    resources:
        mem_mb=memory_of("report"),
        runtime=minutes_of("report"),
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib report \
            --plate "$(dirname {input.manifest:q})" \
            {params.analysis:q} \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --memory {resources.mem_mb} \
            --minutes {resources.runtime} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
