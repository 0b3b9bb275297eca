"""The load of a run, by hand."""

from __future__ import annotations

import pytest

from pipeline_lib.core.forecast import START, Load, forecast, seconds_per_field
from pipeline_lib.core.needs import NEEDS


def test_seconds_of_a_field_are_an_average_over_fields() -> None:
    assert seconds_per_field([]) is None
    assert seconds_per_field([{"seconds": 10, "fields": 4}, {"seconds": 50, "fields": 16}]) == pytest.approx(3.0)


def test_the_table_tells_minutes_of_all_jobs_and_of_one() -> None:
    loads = [Load("ingest", 2, 24, 48), Load("segment", 1, 24, 48)]
    told = forecast(loads, {"ingest": 1.25})
    ingest, segment = told.splitlines()[1:3]
    minutes = (48 * 1.25 + 2 * START) / 60  # 1.33
    assert ingest.split() == ["ingest", "2", "24", f"{minutes:.1f}", f"{minutes / 2:.1f}", "60"]
    guessed = (48 * NEEDS["segment"].seconds_per_field + START) / 60
    assert segment.split() == ["segment", "1", "24", f"{guessed:.1f}", f"{guessed:.1f}", "(guess)", "120"]
    total = minutes + guessed
    assert told.splitlines()[-1].strip() == (
        f"3 jobs, about {total:.1f} minutes of job time, {guessed:.1f} of them in network jobs"
    )


def test_large_numbers_are_readable() -> None:
    told = forecast([Load("measure", 2400, 38400, 345600)], {"measure": 6.0})
    assert "2,400 jobs, about 34,960 minutes of job time, 0.0 of them in network jobs" in told
