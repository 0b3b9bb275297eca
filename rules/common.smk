# What the rules share: the checked config, and the way from wildcards to settings, wells and records.
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)  # the library comes from the checkout, in jobs too
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(workflow.basedir)}; ")

from pipeline_lib.provenance import code_digest
from pipeline_lib.workflow import ConfigError, load_workflow

try:
    WORKFLOW = load_workflow(config, rescan=workflow.is_main_process)
except ConfigError as faults:
    raise WorkflowError(str(faults)) from None

PLATES = WORKFLOW.plates
PLATE = str(Path(WORKFLOW.settings.results) / "{plate}")


wildcard_constraints:
    plate="[A-Za-z0-9_.-]+",
    batch="[A-Z]+[0-9]+-[A-Z]+[0-9]+",


def settings_of(stage):
    """The stage's settings for the plate at hand, as JSON."""
    return lambda wildcards: PLATES[wildcards.plate].section(stage).to_json()


def wells_of(stage):
    """The wells of the batch at hand, separated by commas."""
    return lambda wildcards: ",".join(
        PLATES[wildcards.plate].batches(stage)[wildcards.batch]
    )


def wells_of_plate(wildcards):
    """All wells of the plate at hand, separated by commas."""
    return ",".join(PLATES[wildcards.plate].wells)


def weights_of(wildcards):
    """Checksums of the weights, so that replaced ones are noticed."""
    return PLATES[wildcards.plate].weights


def records_of(stage):
    """The records of all batches of the plate at hand."""
    return lambda wildcards: PLATES[wildcards.plate].records(stage)


def records_before(stage, then):
    """The records of those batches of a stage which hold a well of the batch at hand of the stage `then`."""
    return lambda wildcards: PLATES[wildcards.plate].records_sharing(
        stage, then, wildcards.batch
    )


def plate_map_of(wildcards):
    """The plate map, if the plate has one."""
    return PLATES[wildcards.plate].plate_map or []
