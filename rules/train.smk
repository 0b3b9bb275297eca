# REQUIRED INPUTS  the sets of images that the config sections `train` and `train_restoration` name; read by the job itself
# OUTPUTS          results/models/<name>: weights, size model, model card, curve; a killed job goes on where it was


rule train:
    """Train the network that the config section `train` describes; only when asked for: `snakemake train`."""
    output:
        weights=f"{MODEL}/{Path(MODEL).name}.safetensors",
    params:
        settings=WORKFLOW.settings.train.to_json(),
    log:
        f"{MODEL}/train.log",
    benchmark:
        f"{MODEL}/benchmark.tsv"
    threads: TRAINING.threads
    resources:
        mem_mb=lambda wildcards, attempt: TRAINING.memory * attempt,
        runtime=lambda wildcards, attempt: TRAINING.minutes * attempt,
        gpu=1 if visible_gpus() else 0,
    conda:
        "../envs/gpu.yaml"
    shell:
        r"""
        export OMP_NUM_THREADS={threads}
        python -m pipeline_lib train \
            --settings {params.settings:q} \
            --out "$(dirname {output.weights:q})" 2>&1 | tee -a {log:q}
        """


rule train_restoration:
    """Train the network that restores images as the section `train_restoration` says; only when asked for."""
    output:
        weights=f"{RESTORER}/{Path(RESTORER).name}.safetensors",
    params:
        settings=WORKFLOW.settings.train_restoration.to_json(),
    log:
        f"{RESTORER}/train.log",
    benchmark:
        f"{RESTORER}/benchmark.tsv"
    threads: TRAINING.threads
    resources:
        mem_mb=lambda wildcards, attempt: TRAINING.memory * attempt,
        runtime=lambda wildcards, attempt: TRAINING.minutes * attempt,
        gpu=1 if visible_gpus() else 0,
    conda:
        "../envs/gpu.yaml"
    shell:
        r"""
        export OMP_NUM_THREADS={threads}
        python -m pipeline_lib train-restoration \
            --settings {params.settings:q} \
            --out "$(dirname {output.weights:q})" 2>&1 | tee -a {log:q}
        """
