# REQUIRED INPUTS  the tables of aggregate, the records of all stages, pictures from results/<plate>/raw.ome.zarr
# OUTPUTS          results/<plate>/report.html


rule report:
    """One self-contained page about the plate."""
    input:
        manifest=PLATE + "/manifest.json",
        aggregate=PLATE + "/records/aggregate/plate.json",
    output:
        record=PLATE + "/records/report/plate.json",
        report=PLATE + "/report.html",
    params:
        settings=settings_of("report"),
        wells=wells_of_plate,
        code=code_digest("report"),
    log:
        PLATE + "/logs/report/plate.log",
    benchmark:
        PLATE + "/benchmarks/report/plate.tsv"
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    conda:
        "../envs/cpu.yaml"
    shell:
        r"""
        python -m pipeline_lib report \
            --plate "$(dirname {input.manifest:q})" \
            --wells {params.wells:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --record {output.record:q} 2>&1 | tee {log:q}
        """
