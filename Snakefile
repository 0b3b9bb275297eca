# Wellpose: a raw screening plate in, labels, tables and a report out.
#
#   snakemake                    all plates of config/plates.tsv, on this machine
#   snakemake --profile slurm    the same on a cluster
#   snakemake -n                 what would run, and why
#   snakemake train              a network of your own, as the config section `train` says
#
# In a folder without config/config.yaml every setting has its default, unless --configfile or --config says otherwise.
from pathlib import Path


if Path("config/config.yaml").exists():

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/ingest.smk"
include: "rules/restore.smk"
include: "rules/segment.smk"
include: "rules/measure.smk"
include: "rules/aggregate.smk"
include: "rules/report.smk"
include: "rules/train.smk"


rule all:
    """Everything of every plate. All records are named, so that deleting one makes its job run again."""
    default_target: True
    input:
        [path for plate in PLATES.values() for path in plate.targets()],
