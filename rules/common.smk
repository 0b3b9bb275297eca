# What the rules share: the checked config, and the way from wildcards to settings, wells and records.
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)  # the library comes from the checkout, in jobs too
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(workflow.basedir)}; ")

from pipeline_lib.core.needs import NEEDS, TRAINING
from pipeline_lib.io.devices import visible_gpus
from pipeline_lib.io.locks import Taken
from pipeline_lib.launch import PlannedJob, clear_orders, lock_plates, told_load
from pipeline_lib.provenance import code_digest
from pipeline_lib.workflow import ConfigError, load_workflow

try:
    WORKFLOW = load_workflow(config, rescan=workflow.is_main_process)
except ConfigError as faults:
    raise WorkflowError(str(faults)) from None

PLATES = WORKFLOW.plates
ANALYSIS = WORKFLOW.settings.analysis or ""
PLATE = str(Path(WORKFLOW.settings.results) / "{plate}")
# The folder of what belongs to one analysis.
HOME = f"{PLATE}/analyses/{ANALYSIS}" if ANALYSIS else PLATE
NAMED = ["--analysis", ANALYSIS] if ANALYSIS else []
MODELS = Path(WORKFLOW.settings.results) / "models"
MODEL = str(MODELS / WORKFLOW.settings.train.name)
RESTORER = str(MODELS / WORKFLOW.settings.train_restoration.name)
# Of the plates this run works on: open, and so held, until this process ends.
LOCKS = []


def planned_jobs():
    """The stage jobs that this run is about to start."""
    return [
        PlannedJob(
            job.rule.name, job.wildcards.plate, getattr(job.wildcards, "batch", "")
        )
        for job in workflow.dag.needrun_jobs()
        if job.rule.name in NEEDS
    ]


onstart:  # before the first job, not in a dry run
    if workflow.is_main_process:
        try:
            LOCKS.extend(lock_plates(WORKFLOW, planned_jobs()))
        except Taken as error:
            raise WorkflowError(str(error)) from None
        clear_orders(WORKFLOW, planned_jobs())
        print(told_load(WORKFLOW, planned_jobs()), file=sys.stderr)


wildcard_constraints:
    plate="[A-Za-z0-9_.-]+",
    batch="[A-Z]+[0-9]+-[A-Z]+[0-9]+",


rule retry:
    """Order that the quarantined wells of a batch be tried again."""
    output:
        touch(PLATE + "/retry/{order}"),
    localrule: True


def memory_of(stage):
    """MB for a job, more with every try."""
    return lambda wildcards, attempt: NEEDS[stage].memory * attempt


def minutes_of(stage):
    """Time limit of a job, longer with every try."""
    return lambda wildcards, attempt: NEEDS[stage].minutes * attempt


def gpus_of(stage):
    """GPUs of this machine that a job needs; a cluster profile says what to ask the cluster for."""
    return 1 if NEEDS[stage].gpu and visible_gpus() else 0


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


def calibrating_weights_of(wildcards):
    """Checksums of the weights and their size models, so that replaced ones are noticed."""
    return PLATES[wildcards.plate].calibrating_weights


def restoring_weights_of(wildcards):
    """Checksums of the weights that restore, so that replaced ones are noticed."""
    return PLATES[wildcards.plate].restoring_weights


def restored_for(stage):
    """What says that the restored images of the batch at hand are there, if the stage reads them."""
    return lambda wildcards: PLATES[wildcards.plate].restored_for(
        stage, wildcards.batch
    )


def last_readers_of_restored(wildcards):
    """The record of the stage after which temporary restored images may go."""
    return PLATES[wildcards.plate].last_readers


def light_of(wildcards):
    """The record that tells how the plate at hand is lit, if its images are corrected for it."""
    return PLATES[wildcards.plate].light


def retry_of(stage):
    """The order to try the batch's quarantined wells again, if it has any and the run is to retry them."""
    return (
        lambda wildcards: PLATES[wildcards.plate].to_retry(stage, wildcards.batch) or []
    )


def records_of(stage):
    """The records of all batches of the plate at hand."""
    return lambda wildcards: PLATES[wildcards.plate].records(stage)


def restored_records(wildcards):
    """The records of all restored batches of the plate at hand, if it is restored."""
    plate = PLATES[wildcards.plate]
    return plate.records("restore") if plate.settings.restore.is_on else []


def records_before(stage, then):
    """The records of those batches of a stage which hold a well of the batch at hand of the stage `then`."""
    return lambda wildcards: PLATES[wildcards.plate].records_sharing(
        stage, then, wildcards.batch
    )


def plate_map_of(wildcards):
    """The plate map, if the plate has one."""
    return PLATES[wildcards.plate].plate_map or []
