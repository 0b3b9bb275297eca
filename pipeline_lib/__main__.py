"""`python -m pipeline_lib <stage>`, or `wellpose <stage>`: turn words into one function call."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from pipeline_lib import __version__
from pipeline_lib.core.wells import well_list
from pipeline_lib.io.locks import Taken
from pipeline_lib.paths import PlatePaths
from pipeline_lib.settings import Settings


class Stage(NamedTuple):
    """A stage that Snakemake calls: the config section it is handed, and what it does."""

    section: str
    told: str


STAGES = {
    "skeleton": Stage("ingest", "write the plate and row groups of the OME-Zarr plate"),
    "illuminate": Stage("ingest", "tell how unevenly each channel of the plate is lit"),
    "ingest": Stage("ingest", "convert a batch of wells to OME-Zarr"),
    "complete": Stage("ingest", "list the committed wells in the plate"),
    "calibrate": Stage("segment", "choose intensity ranges and object diameters for the plate"),
    "prepare": Stage("restore", "write the restored plate's groups and choose intensity ranges and diameters"),
    "restore": Stage("restore", "denoise, deblur or enlarge the images of a batch of wells"),
    "segment": Stage("segment", "label the nuclei and cells of a batch of wells"),
    "measure": Stage("measure", "measure every cell of a batch of wells"),
    "aggregate": Stage("aggregate", "summarise wells and compare them with the controls"),
    "report": Stage("report", "write the plate report"),
    "conclude": Stage("restore", "list the restored wells in their plate, or delete them if they were temporary"),
}
# Commands for people at a terminal: the module in `stages/` of the same name, with _ for -, brings its own flags.
COMMANDS = {
    "segment-image": "label the objects of single images, stacks and movies",
    "restore-image": "take noise or blur away from single images, stacks and movies, or enlarge them",
    "train": "train or fine-tune a network on images with truth",
    "train-restoration": "train a network that restores images for a segmentation network",
    "evaluate": "networks side by side on images with truth: precision, errors, outlines; tables, plots, a page",
    "evaluate-restoration": "does restoring damaged images help segmentation: precision, verdicts, pictures",
    "synthesize": "draw a screening plate with known truth",
    "summary": "wells, cells, Z' and, where the truth is known, segmentation accuracy of a finished plate",
    "doctor": "look for what would stop a run; --dry-run: what each plate is and will cost",
    "install-profile": "write your own copy of the SLURM profile, with your account, partitions and GPU syntax",
    "diff": "which wells and stages a run would make anew, and because of which setting",
    "status": "what is done, running, quarantined and waiting, per stage",
    "verify": "prove that every committed well is readable and consistent, or drop those that are not",
    "reset": "drop results of a plate, so that the next run makes them again",
    "models": "list, fetch, verify and convert the official Cellpose 1-3 models",
    "schema": "write config/config.yaml, its JSON schema and config/README.md from the settings",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage or command; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    parser = argparse.ArgumentParser(
        prog="wellpose", description="From a raw screening plate to labels, tables and a report."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, stage in STAGES.items():
        _add_stage(verbs.add_parser(name, help=f"rule {name}: {stage.told}", description=stage.told))
    chosen = next(
        (word for word in (sys.argv[1:] if arguments is None else arguments) if not word.startswith("-")), None
    )
    for command, told in COMMANDS.items():
        own = verbs.add_parser(command, help=told, description=told)
        if command == chosen:
            import_module(_module(command)).add_arguments(own)
    parsed = parser.parse_args(arguments)
    try:
        code = _run(parsed)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        sys.stderr.write(f"\nwellpose {parsed.verb}: interrupted\n")
        return 130  # what shells expect
    except BrokenPipeError:  # whoever read has seen enough, as in `wellpose models list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, FileNotFoundError, Taken) as error:
        if parsed.verb in STAGES:
            raise
        sys.stderr.write(f"wellpose {parsed.verb}: {error}\n")
        return 2


def _add_stage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plate", type=Path, required=True, help="the plate's results folder")
    parser.add_argument("--analysis", default="", help="name of the analysis; empty for the plain one")
    parser.add_argument("--wells", type=well_list, default=(), help="wells of the batch, separated by commas")
    parser.add_argument("--settings", required=True, help="the stage's config section as JSON")
    parser.add_argument("--plate-map", type=Path, help="CSV with the wells' contents")
    parser.add_argument("--threads", type=int, default=1, help="processor threads to use")
    parser.add_argument("--memory", type=float, help="MB the job may use, by which its death is explained")
    parser.add_argument("--minutes", type=float, help="time limit of the job, likewise")
    parser.add_argument("--record", type=Path, required=True, help="the record to write when the job is done")


def _module(verb: str) -> str:
    return f"pipeline_lib.stages.{verb.replace('-', '_')}"


def _run(parsed: argparse.Namespace) -> int:
    if parsed.verb in STAGES:
        for library in ("OMP", "MKL", "OPENBLAS", "NUMBA", "BLOSC"):  # read once, when each of them is imported
            os.environ[f"{library}_NUM_THREADS"] = str(parsed.threads)
    module = import_module(_module(parsed.verb))
    if parsed.verb not in STAGES:
        return int(module.run(parsed) or 0)
    from pipeline_lib.stages._job import Job, Limits

    section = Settings.model_fields[STAGES[parsed.verb].section].annotation
    assert section is not None
    job = Job(
        stage=parsed.verb,
        plate=PlatePaths(parsed.plate, parsed.analysis),
        settings=section.model_validate_json(parsed.settings),
        record=parsed.record,
        wells=parsed.wells,
        plate_map=parsed.plate_map,
        limits=Limits(parsed.memory, parsed.minutes),
    )
    getattr(module, parsed.verb)(job)
    return 0


if __name__ == "__main__":
    sys.exit(main())
