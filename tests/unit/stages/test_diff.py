"""What `wellpose diff` foretells is what a run then does, well by well; and it is told so that people can read it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from plates import WELL_STAGES

from pipeline_lib import __main__ as cli
from pipeline_lib.io import weights
from pipeline_lib.io.records import read_json
from pipeline_lib.paths import LIGHT_STAGES, RESTORING_STAGES, WHOLE_PLATE, PlatePaths
from pipeline_lib.provenance import code_digest
from pipeline_lib.stages import _job
from pipeline_lib.stages._job import Job
from pipeline_lib.stages.diff import foretold, reruns
from pipeline_lib.stages.diff.forecast import Forecast, State
from pipeline_lib.stages.diff.reruns import BEFORE, batches_of, jobs_to_run, section_of
from pipeline_lib.stages.synthesize import Drawing, synthesize
from pipeline_lib.workflow import Plate, load_workflow

Results = set[tuple[str, str]]  # (stage, well)
OWN = "{segment: {labels: {cells: {method: grow, distance: 9}}}}"
BASE = {"measure": {"features": ["shape", "intensity"]}, "segment": {"labels": {"nuclei": {"diameter": 18}}}}
WELLS = ("A01", "A02", "B01", "B02")
BAD = "B01"  # a file of it cannot be read
SOUND = tuple(well for well in WELLS if well != BAD)
TO_CELLS = ("skeleton", "ingest", "complete", "calibrate", "segment", "measure")


@dataclass(frozen=True)
class Screen:
    """Plates that share one raw folder, and runs of the workflow without Snakemake."""

    folder: Path

    def sheet(self, *lines: str) -> None:
        header = "plate\tfolder\tformat\tplate_map\toverrides\tmeasure.features"
        (self.folder / "plates.tsv").write_text("\n".join([header, *lines, ""]))

    def plate(self, name: str = "P1", **config: Any) -> Plate:
        places = {"plates": str(self.folder / "plates.tsv"), "results": str(self.folder / "results")}
        return load_workflow({**BASE, **places, **config}).plates[name]

    def copy(self, folder: Path) -> Screen:
        """The same in another folder, with all file times."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        for manifest in (folder / "results").glob("*/manifest.json"):
            time = manifest.stat().st_mtime_ns
            manifest.write_text(manifest.read_text().replace(f'"{self.folder}/raw"', f'"{folder}/raw"'))
            os.utime(manifest, ns=(time, time))
        return Screen(folder)


def run(plate: Plate, until: str = "measure") -> dict[tuple[str, str], str]:
    """Start the jobs that are foretold, in order; returns (stage, well) -> what became of it."""
    jobs, outcomes = jobs_to_run(plate), {}
    for stage in list(BEFORE)[: list(BEFORE).index(until) + 1]:
        for batch in jobs.get(stage, ()):
            record = plate.paths.record(stage, batch)
            wells = batches_of(plate, stage)[batch]
            job = Job(stage, plate.paths, section_of(plate, stage), record, wells, plate.plate_map)
            getattr(import_module(f"pipeline_lib.stages.{stage}"), stage)(job)
            told = read_json(record).get("wells", {}) if stage in WELL_STAGES else {}
            outcomes |= {(stage, well): outcome["status"] for well, outcome in told.items()}
    return outcomes


def expected(plate: Plate, *states: State) -> Results:
    """The results of wells that are foretold to be in one of some states."""
    stages = Forecast(plate, jobs_to_run(plate)).stages
    return {(stage, well) for stage in WELL_STAGES for well, told in stages[stage].items() if told.state in states}


def done(outcomes: Mapping[tuple[str, str], str]) -> Results:
    return {result for result, status in outcomes.items() if status == "done"}


def reasons(plate: Plate, stage: str, well: str = WHOLE_PLATE) -> tuple[str, ...]:
    return Forecast(plate, jobs_to_run(plate)).stages[stage][well].reasons


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Screen:
    """P1, finished to its report, and P2, finished to its cells."""
    screen = Screen(tmp_path_factory.mktemp("screen"))
    synthesize(screen.folder, Drawing("P1", 2, 2, fields=1, size=64, cells=3.0, compounds=0, seed=3))
    (screen.folder / "raw" / f"{BAD}_s1_wGFP.tif").write_text("not a picture\n")
    screen.sheet(f"P1\traw\tpattern\tplatemap.csv\t{OWN}", "P2\traw\tpattern\tplatemap.csv\t")
    before = expected(screen.plate(), State.ANEW)
    outcomes = run(screen.plate(), until="report")
    run(screen.plate("P2"))
    assert before == {(stage, well) for stage in WELL_STAGES for well in WELLS}, "a bad file shows only when it is read"
    assert done(outcomes) == {(stage, well) for stage, well in before if well != BAD}
    return screen


@pytest.fixture
def screen(finished: Screen, tmp_path: Path) -> Screen:
    return finished.copy(tmp_path)


def agree(plate: Plate, wells: Mapping[str, tuple[str, ...]]) -> None:
    """What is foretold is `wells`, stage by stage, and what a run does; after it nothing is left to do."""
    foretold_anew = expected(plate, State.ANEW)
    assert foretold_anew == {(stage, well) for stage, of_stage in wells.items() for well in of_stage}
    assert not expected(plate, State.PERHAPS, State.UNSEEN)
    assert done(run(plate)) == foretold_anew
    assert not expected(plate, State.ANEW, State.PERHAPS, State.UNSEEN)
    left = jobs_to_run(plate)
    assert not any(left[stage] for stage in TO_CELLS)


def test_a_finished_plate_has_nothing_to_do(screen: Screen) -> None:
    plate = screen.plate()
    assert not any(jobs_to_run(plate).values())
    assert expected(plate, State.CURRENT) == {(stage, well) for stage in WELL_STAGES for well in SOUND}
    assert len(expected(plate, State.QUARANTINED)) == 1
    assert foretold(plate).nothing_to_do


def test_other_features_measure_anew(screen: Screen) -> None:
    plate = screen.plate(measure={"features": ["shape"]})
    assert reasons(plate, "measure", SOUND[0]) == ('measure.features: ["shape", "intensity"] -> ["shape"]',)
    assert reasons(plate, "aggregate") == ("because measure before it runs",)
    agree(plate, {"measure": SOUND})


def test_another_diameter_calibrates_segments_and_measures_anew(screen: Screen) -> None:
    plate = screen.plate(segment={"labels": {"nuclei": {"diameter": 20}}})
    change = "segment.labels.nuclei.diameter: 18.0 -> 20.0"
    assert reasons(plate, "calibrate") == (change,)
    assert reasons(plate, "segment", SOUND[0]) == (change, "because the calibration is chosen anew")
    assert reasons(plate, "measure", SOUND[0]) == ("because segment before it is made anew",)
    agree(plate, {"segment": SOUND, "measure": SOUND})


def test_a_named_analysis_is_made_beside_the_plain_one_from_the_same_wells(screen: Screen) -> None:
    plain, named = screen.plate(), screen.plate(analysis="v2")
    before = {path: path.stat().st_mtime_ns for path in plain.paths.folder.rglob("*.parquet")}
    agree(named, {"segment": SOUND, "measure": SOUND})
    assert foretold(plain).nothing_to_do
    assert not any(jobs_to_run(plain).values())
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_raw_file_that_is_written_in_place_shows_once_its_job_looks(screen: Screen) -> None:
    """Snakemake compares names of images: it would not run, and diff says that nobody would look."""
    well = SOUND[0]
    touched = next((screen.folder / "raw").glob(f"{well}_*"))
    os.utime(touched)
    plate = screen.plate()
    assert not any(jobs_to_run(plate).values())
    assert expected(plate, State.UNSEEN) == {("ingest", well)}
    assert not expected(plate, State.ANEW)
    assert any(touched.name in reason for reason in reasons(plate, "ingest", well))
    assert not foretold(plate).nothing_to_do
    os.utime(plate.paths.record("skeleton", WHOLE_PLATE))
    agree(screen.plate(), dict.fromkeys(WELL_STAGES, (well,)))


@pytest.mark.parametrize("stage", WELL_STAGES)
def test_portions_cut_jobs_anew_and_compute_nothing(screen: Screen, stage: str) -> None:
    plate = screen.plate(**{stage: {**BASE.get(stage, {}), "wells_per_job": 1}})
    assert Forecast(plate, jobs_to_run(plate)).scheduling(stage)[0].endswith(" -> 1")
    assert len(jobs_to_run(plate)[stage]) == 4
    agree(plate, {})


def test_a_column_of_one_plate_changes_that_plate_only(screen: Screen) -> None:
    screen.sheet(f"P1\traw\tpattern\tplatemap.csv\t{OWN}", "P2\traw\tpattern\tplatemap.csv\t\t[shape]")
    assert foretold(screen.plate()).nothing_to_do
    agree(screen.plate("P2"), {"measure": SOUND})


def test_a_changed_override_of_one_plate_changes_that_plate_only(screen: Screen) -> None:
    own = OWN.replace("9", "7")
    screen.sheet(f"P1\traw\tpattern\tplatemap.csv\t{own}", "P2\traw\tpattern\tplatemap.csv\t")
    agree(screen.plate(), {"segment": SOUND, "measure": SOUND})
    assert not expected(screen.plate("P2"), State.ANEW)


def test_settings_of_ingest_go_through_everything(screen: Screen) -> None:
    plate = screen.plate(ingest={"pixel_size": 0.5})
    assert expected(plate, State.RETRIED) == {(stage, BAD) for stage in WELL_STAGES}
    assert reasons(plate, "calibrate") == ("the plate is described anew before it",)
    agree(plate, dict.fromkeys(WELL_STAGES, SOUND))


def test_changed_code_is_told_by_its_digests(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(stage: str) -> str:
        return "0123456789abcdef" if stage == "measure" else code_digest(stage)

    for module in (_job, reruns):
        monkeypatch.setattr(module, "code_digest", other)
    plate = screen.plate()
    [reason] = reasons(plate, "measure", SOUND[0])
    assert reason == f"code of measure changed: {code_digest('measure')} -> 0123456789abcdef"
    agree(plate, {"measure": SOUND})


def test_replaced_weights_are_told_by_their_checksums(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline_lib.io.weights.checksum", lambda _: "f" * 64)
    plate = screen.plate()
    for stage, well in (("calibrate", WHOLE_PLATE), ("segment", SOUND[0])):
        assert any(reason.endswith("-> ffffffffffff") for reason in reasons(plate, stage, well))
    agree(plate, {"segment": SOUND, "measure": SOUND})


def test_a_replaced_size_model_calibrates_anew(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    known = weights.checksum
    monkeypatch.setattr(weights, "checksum", lambda path: "f" * 64 if path.name.startswith("size_") else known(path))
    plate = screen.plate()
    [reason] = reasons(plate, "calibrate")
    assert reason.startswith("weights of nuclei's size model replaced: ")
    assert reason.endswith(" -> ffffffffffff")
    agree(plate, {"segment": SOUND, "measure": SOUND})


def test_quarantined_wells_are_tried_again_only_if_they_are_asked_for(screen: Screen) -> None:
    assert expected(screen.plate(), State.QUARANTINED) == {("ingest", BAD)}
    [field] = (screen.folder / "raw").glob(f"{BAD}_*GFP*")
    shutil.copyfile(next((screen.folder / "raw").glob(f"{BAD}_*DNA*")), field)
    plate = screen.plate(retry_failed=True)
    retried = {(stage, BAD) for stage in WELL_STAGES}
    assert expected(plate, State.RETRIED) == retried
    assert not expected(plate, State.ANEW)
    assert done(run(plate)) <= retried


def test_a_file_that_has_gone_quarantines_its_well(screen: Screen) -> None:
    next((screen.folder / "raw").glob(f"{SOUND[0]}_*")).unlink()
    plate = screen.plate()
    assert expected(plate, State.LOST) == {("ingest", SOUND[0])}
    assert not expected(plate, State.ANEW)
    outcomes = run(plate)
    assert outcomes["ingest", SOUND[0]] == "quarantined"
    assert not done(outcomes)


def test_an_archived_plate_stays_as_it_is(screen: Screen) -> None:
    (screen.folder / "raw").rename(screen.folder / "archived")
    plate = screen.plate()
    assert foretold(plate).nothing_to_do
    assert "raw folder" in reasons(plate, "ingest", SOUND[0])[0]


def test_lost_results_are_made_again_where_a_job_looks(screen: Screen) -> None:
    plate = screen.plate()
    plate.paths.cells(SOUND[0]).unlink()
    assert expected(plate, State.UNSEEN) == {("measure", SOUND[0])}
    plate.paths.record("measure", f"{WELLS[0]}-{WELLS[-1]}").unlink()
    agree(plate, {"measure": SOUND[:1]})
    plate.paths.wells_csv.unlink()
    assert "wells.csv is missing" in reasons(plate, "aggregate")


def test_what_only_the_new_calibration_shows_is_left_open(screen: Screen) -> None:
    plate = screen.plate()
    plate.paths.calibration.unlink()
    shutil.rmtree(plate.paths.records("calibrate"))
    perhaps = expected(plate, State.PERHAPS)
    assert perhaps == {(stage, well) for stage in ("segment", "measure") for well in SOUND}
    assert done(run(plate)) <= perhaps


def test_tables_of_a_change_that_was_taken_back_half_way_are_left_open(screen: Screen) -> None:
    run(screen.plate(segment={"labels": {"nuclei": {"diameter": 20}}}), until="segment")
    plate = screen.plate()
    assert expected(plate, State.ANEW) == {("segment", well) for well in SOUND}
    assert expected(plate, State.PERHAPS) == {("measure", well) for well in SOUND}
    assert done(run(plate)) == {("segment", well) for well in SOUND}, "the old tables are the ones that are wanted"


CHANGES: dict[str, Callable[[Screen, dict[str, Any], random.Random], None]] = {
    "features": lambda _, config, dice: config.update(measure={"features": dice.sample(["shape", "intensity"], 1)}),
    "diameter": lambda _, config, dice: config.update(
        segment={"labels": {"nuclei": {"diameter": dice.choice([16, 18, 20])}}}
    ),
    "portions": lambda _, config, dice: config.update(ingest={"wells_per_job": dice.randint(1, 4)}),
    "analysis": lambda _, config, dice: config.update(analysis=dice.choice([None, "v2"])),
    "touched": lambda screen, _, dice: os.utime(dice.choice(sorted((screen.folder / "raw").iterdir()))),
    "table": lambda screen, config, dice: _paths(screen, config).cells(dice.choice(WELLS)).unlink(missing_ok=True),
    "record": lambda screen, config, dice: dice.choice(
        sorted(_paths(screen, config).records(dice.choice(["segment", "ingest"])).glob("*.json"))
    ).unlink(),
}


def _paths(screen: Screen, config: Mapping[str, Any]) -> PlatePaths:
    return screen.plate(**config).paths


@pytest.mark.parametrize("seed", range(3))
def test_after_any_changes_a_run_does_what_was_foretold(screen: Screen, seed: int) -> None:
    dice, config = random.Random(seed), dict[str, Any]()
    unknown = {(stage, BAD) for stage in WELL_STAGES}  # with its record goes what is known of it
    for _ in range(3):
        named = dice.sample(sorted(CHANGES), 2)
        for name in named:
            try:
                CHANGES[name](screen, config, dice)
            except IndexError:  # an analysis without records
                continue
        plate = screen.plate(**config)
        anew, perhaps = expected(plate, State.ANEW), expected(plate, State.PERHAPS, State.RETRIED)
        made = done(run(plate))
        assert anew <= made | unknown <= anew | perhaps | unknown, named


def told(screen: Screen, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What `wellpose diff` writes."""
    (screen.folder / "config.yaml").write_text(json.dumps(BASE))
    places = (f"plates={screen.folder / 'plates.tsv'}", f"results={screen.folder / 'results'}")
    plates = [word for word in words if "=" not in word]
    settings = [word for word in words if "=" in word]
    config = ["--configfile", str(screen.folder / "config.yaml"), "--config", *places, *settings]
    assert cli.main(["diff", *plates, *config]) == 0
    return capsys.readouterr().out


def test_people_read_wells_stages_and_reasons(screen: Screen, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(screen, capsys, "P1").startswith("P1: nothing to do; quarantined: 1 well (")
    text = told(screen, capsys, "P1", "segment={labels: {nuclei: {diameter: 20}}}", "measure={wells_per_job: 3}")
    assert text.startswith("P1: 6 of 9 jobs would run\n")
    lines = [line.strip() for line in text.splitlines()]
    assert any(
        line.startswith("segment    anew: 3 wells (A01-A02, B02); without input: 1 well (B01)") for line in lines
    )
    assert lines.count("segment.labels.nuclei.diameter: 18.0 -> 20.0") == 2
    assert "measure.wells_per_job: 16 -> 3 (jobs are cut anew; no well is computed again)" in lines
    assert max(map(len, lines)) < 120


def test_programs_read_the_same(screen: Screen, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(told(screen, capsys, str(screen.folder / "results" / "P1"), "--json", "analysis=v2"))
    assert found["analysis"] == "v2"
    [(name, plate)] = found["plates"].items()
    assert (name, plate["nothing_to_do"]) == ("P1", False)
    assert list(plate["stages"]) == [stage for stage in BEFORE if stage not in (*RESTORING_STAGES, *LIGHT_STAGES)]
    assert plate["stages"]["segment"]["jobs"] == {"run": 1, "of": 1, "reasons": ["no record yet"]}
    anew = next(group for group in plate["stages"]["segment"]["results"] if group["state"] == "anew")
    assert anew == {"state": "anew", "wells": list(SOUND), "reasons": ["nothing there yet"]}


def test_faults_of_the_config_and_unknown_plates_end_with_2(screen: Screen, capsys: pytest.CaptureFixture[str]) -> None:
    places = [f"plates={screen.folder / 'plates.tsv'}", f"results={screen.folder / 'results'}"]
    config = ["--configfile", str(screen.folder / "c.yaml"), "--config", *places]
    (screen.folder / "c.yaml").write_text("measure: {feature: 1}\n")
    assert cli.main(["diff", *config]) == 2
    assert "unknown key measure.feature" in capsys.readouterr().err
    (screen.folder / "c.yaml").write_text("{}\n")
    assert cli.main(["diff", "P9", *config]) == 2
    assert "no plate P9 in" in capsys.readouterr().err
