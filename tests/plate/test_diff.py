"""The jobs that `wellpose diff` foretells are those that Snakemake plans."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import yaml
from plates import REPOSITORY, Run

from pipeline_lib.stages.diff.reruns import jobs_to_run
from pipeline_lib.workflow import load_workflow, merged

pytestmark = pytest.mark.plate


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"report": "{thumbnail_size: 100}"},
        {"measure": "{wells_per_job: 5, features: [shape]}"},
        {"segment": "{device: cpu}"},
        {"segment": "{labels: {nuclei: {diameter: 20}}}", "analysis": "v2"},
        {"ingest": "{wells_per_job: 3}"},
        {"retry_failed": "true"},
    ],
    ids=lambda change: "-".join(change) or "nothing",
)
def test_foretold_jobs_are_those_that_snakemake_plans(
    troubled: tuple[Run, dict[str, str]], change: dict[str, str]
) -> None:
    run, _ = troubled
    planned = run.snakemake("-n", **change)
    assert planned.returncode == 0, planned.stderr
    rules = Counter(re.findall(r"^(?:local)?rule (\w+):", planned.stdout + planned.stderr, flags=re.MULTILINE))
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
    places = {"plates": str(run.folder / "plates.tsv"), "results": str(run.folder / "results")}
    own = {key: yaml.safe_load(value) for key, value in change.items()}
    [plate] = load_workflow(merged(config, {**places, **own})).plates.values()
    jobs = {stage: len(batches) for stage, batches in jobs_to_run(plate).items() if batches}
    assert jobs == {rule: count for rule, count in rules.items() if rule not in ("all", "retry")}
