"""verify: every damage is found where it is, and repairing drops that and no more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline_lib.__main__ import main
from pipeline_lib.io.claims import Claim
from pipeline_lib.io.locks import hold
from pipeline_lib.io.plate import committed_wells, labels_of, list_wells, write_group
from pipeline_lib.io.records import read_json, write_json
from pipeline_lib.io.tables import table_fingerprint, write_table
from pipeline_lib.paths import PlatePaths
from pipeline_lib.stages.verify import faults_of

REPOSITORY = Path(__file__).parents[3]
Damage = Callable[[PlatePaths], None]


def shard(array: Path) -> Path:
    """The only shard of a small array."""
    [file] = [path for path in (array / "c").rglob("*") if path.is_file()]
    return file


def alter(file: Path) -> None:
    """Change a byte amid the pixels."""
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0x10
    file.write_bytes(bytes(content))


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def spoil(file: Path) -> None:
    """What is left of a file on a bad disk."""
    file.write_bytes(b"\0" * file.stat().st_size)


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def in_raw(name: str, harm: Callable[[Path], None]) -> Damage:
    """Harm to an array or a metadata file of the raw well A01."""

    def damage(plate: PlatePaths) -> None:
        path = plate.raw_well("A01") / name
        harm(path if path.is_file() else shard(path))

    return damage


def rename_fingerprint(plate: PlatePaths) -> None:
    edit(plate.raw_well("A01") / "1/labels/zarr.json", lambda g: ours(g)[""].update(fingerprint="another"))


def ours(group: dict[str, Any]) -> dict[str, Any]:
    analyses: dict[str, Any] = group["attributes"]["wellpose"]["analyses"]
    return analyses


def repeat_rows(plate: PlatePaths) -> None:
    path = plate.cells("A01")
    table = pd.read_parquet(path)
    write_table(pd.concat([table, table[:1]]), path, {"fingerprint": table_fingerprint(path)})


def name_another(stage: str, batch: str) -> Damage:
    def damage(plate: PlatePaths) -> None:
        edit(plate.record(stage, batch), lambda record: record["wells"]["A01"].update(fingerprint="another"))

    return damage


def without(*keys: str) -> Callable[[Path], None]:
    """Remove a value of a JSON file."""

    def harm(file: Path) -> None:
        def remove(content: dict[str, Any]) -> None:
            for key in keys[:-1]:
                content = content[key]
            del content[keys[-1]]

        edit(file, remove)

    return harm


OME = ("attributes", "ome")
OF_A_WELL: dict[str, tuple[str, Damage]] = {
    "altered pixels": ("ingest", in_raw("0/0", alter)),
    "an altered pixel of level 1": ("ingest", in_raw("1/1", alter)),
    "altered histograms": ("ingest", in_raw("histograms", alter)),
    "a truncated shard": ("ingest", in_raw("0/0", truncate)),
    "an empty shard": ("ingest", in_raw("1/0", empty)),
    "a deleted shard": ("ingest", in_raw("0/1", Path.unlink)),
    "a deleted shard of histograms": ("ingest", in_raw("histograms", Path.unlink)),
    "spoilt metadata of a well": ("ingest", in_raw("zarr.json", spoil)),
    "deleted metadata of a well": ("ingest", in_raw("zarr.json", Path.unlink)),
    "spoilt metadata of a field": ("ingest", in_raw("0/zarr.json", spoil)),
    "spoilt metadata of an array": ("ingest", in_raw("1/0/zarr.json", spoil)),
    "truncated metadata of an array": ("ingest", in_raw("1/0/zarr.json", truncate)),
    "metadata of another kind": ("ingest", in_raw("0/0/zarr.json", lambda file: file.write_text("[1, 2]"))),
    "an array without a shape": ("ingest", in_raw("0/0/zarr.json", without("shape"))),
    "a field without multiscales": ("ingest", in_raw("0/zarr.json", without(*OME, "multiscales"))),
    "a well without fields": ("ingest", in_raw("zarr.json", without(*OME, "well", "images"))),
    "a well that is of nobody": ("ingest", in_raw("zarr.json", without("attributes", "wellpose"))),
    "a deleted field": ("ingest", lambda plate: shutil.rmtree(plate.raw_well("A01") / "1")),
    "a deleted well": ("ingest", lambda plate: shutil.rmtree(plate.raw_well("A01"))),
    "a raw record that names another result": ("ingest", name_another("ingest", "A01-A02")),
    "altered labels": ("segment", in_raw("1/labels/nuclei/0", alter)),
    "truncated labels of level 1": ("segment", in_raw("0/labels/nuclei/1", truncate)),
    "spoilt metadata of labels": ("segment", in_raw("0/labels/nuclei/zarr.json", spoil)),
    "deleted metadata of labels": ("segment", in_raw("0/labels/nuclei/zarr.json", Path.unlink)),
    "spoilt metadata of an array of labels": ("segment", in_raw("0/labels/nuclei/0/zarr.json", spoil)),
    "labels without multiscales": ("segment", in_raw("0/labels/nuclei/zarr.json", without(*OME, "multiscales"))),
    "labels that are not listed": (
        "segment",
        in_raw("0/labels/zarr.json", lambda f: edit(f, lambda g: g["attributes"]["ome"]["labels"].remove("nuclei"))),
    ),
    "deleted labels": ("segment", lambda plate: shutil.rmtree(plate.raw_well("A01") / "0/labels/nuclei")),
    "fields with labels of different making": ("segment", rename_fingerprint),
    "a label record that names another result": ("segment", name_another("segment", "A01-B01")),
    "a truncated table": ("measure", lambda plate: truncate(plate.cells("A01"))),
    "an altered table": ("measure", lambda plate: alter(plate.cells("A01"))),
    "a table that is none": ("measure", lambda plate: spoil(plate.cells("A01"))),
    "a row that is there twice": ("measure", repeat_rows),
    "a deleted table": ("measure", lambda plate: plate.cells("A01").unlink()),
    "a table record that names another result": ("measure", name_another("measure", "A01-B01")),
}
damages = pytest.mark.parametrize(("stage", "damage"), OF_A_WELL.values(), ids=OF_A_WELL)


def verify(plate: PlatePaths, *flags: str) -> int:
    return main(["verify", str(plate.folder), *flags])


def found(plate: PlatePaths, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, list[dict[str, str]]]:
    """Exit code and faults."""
    code = verify(plate, "--json", *flags)
    faults: list[dict[str, str]] = json.loads(capsys.readouterr().out)[plate.folder.name]
    return code, faults


def results(plate: PlatePaths) -> set[tuple[str, ...]]:
    """What is there: (stage, well) of results, (stage, batch) of records, of both analyses."""
    there: set[tuple[str, ...]] = {("ingest", well) for well in committed_wells(plate.raw)}
    for path in plate.folder.rglob("records/*/*.json"):
        there.add((str(path.parent.relative_to(plate.folder)), path.stem))
    for analysis in (plate, PlatePaths(plate.folder, "v2")):
        there |= {("measure", path.stem, analysis.analysis) for path in analysis.cells("A01").parent.glob("*")}
        for well in ("A01", "B01"):
            try:
                labels = [labels_of(plate.raw, well, field, analysis.analysis) for field in (0, 1)]
            except ValueError:
                continue
            if any(labels):
                there.add(("segment", well, analysis.analysis))
    return there


def dropped(stage: str, *analyses: str) -> set[tuple[str, ...]]:
    """What repairing A01 is to drop."""
    if stage == "ingest":
        gone: set[tuple[str, ...]] = {("ingest", "A01"), ("records/ingest", "A01-A02"), ("records/complete", "plate")}
        return gone.union(*(dropped(later, *analyses) for later in ("segment", "measure")))
    homes = {analysis: f"analyses/{analysis}/" if analysis else "" for analysis in analyses}
    return {(stage, "A01", analysis) for analysis in analyses} | {
        (f"{home}records/{stage}", "A01-B01") for home in homes.values()
    }


def test_a_plate_whose_wells_are_not_listed_yet_is_clean(finished: PlatePaths) -> None:
    """Between the skeleton and the first `complete` it lists none, which NGFF does not allow."""
    finished.record("complete", "plate").unlink()
    list_wells(finished.raw, [])
    assert faults_of(finished) == []


def test_a_healthy_plate_with_a_quarantined_well_is_clean(
    with_v2: PlatePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in with_v2.folder.rglob("*")}
    assert committed_wells(with_v2.raw) == ["A01", "B01"]
    for flags in ((), ("--analysis", "v2"), ("--repair",)):
        assert verify(with_v2, *flags) == 0
        assert capsys.readouterr().out == "P1: all of 2 committed wells are readable, valid and as their records say\n"
    assert found(with_v2, capsys) == (0, [])
    after = {path: path.stat().st_mtime_ns for path in with_v2.folder.rglob("*") if path != with_v2.lock}
    assert {path: after.get(path) for path in before if path != with_v2.folder} == {
        path: time for path, time in before.items() if path != with_v2.folder
    }


@damages
def test_damage_to_a_well_is_found_where_it_is_and_dropped_with_what_was_made_from_it(
    finished: PlatePaths, stage: str, damage: Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results(finished)
    damage(finished)
    code, faults = found(finished, capsys, "--repair")
    assert code == 1
    assert {(fault["stage"], fault["well"], fault["analysis"]) for fault in faults} == {(stage, "A01", "")}
    assert len({fault["found"] for fault in faults}) == len(faults)
    assert before - results(finished) == dropped(stage, "") & before
    assert results(finished) <= before
    assert found(finished, capsys) == (0, [])


def test_looking_drops_nothing(with_v2: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    alter(shard(with_v2.raw_well("A01") / "0" / "0"))
    before = results(with_v2)
    code, [fault] = found(with_v2, capsys)
    assert (code, fault["stage"], fault["well"]) == (1, "ingest", "A01")
    assert str(with_v2.raw_well("A01") / "0" / "0") in fault["found"]
    assert results(with_v2) == before
    assert found(with_v2, capsys, "--repair") == (1, [fault])
    assert before - results(with_v2) == dropped("ingest", "", "v2")
    assert found(with_v2, capsys) == (0, [])


@pytest.mark.parametrize(
    ("damage", "harmed"),
    [
        (in_raw("1/labels/nuclei_v2/0", alter), {("segment", "v2")}),
        (in_raw("1/labels/zarr.json", spoil), {("segment", ""), ("segment", "v2")}),
        (lambda plate: truncate(PlatePaths(plate.folder, "v2").cells("A01")), {("measure", "v2")}),
    ],
)
def test_other_analyses_are_looked_at_too(
    with_v2: PlatePaths, damage: Damage, harmed: set[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = results(with_v2)
    damage(with_v2)
    _, faults = found(with_v2, capsys, "--analysis", "v2")
    assert {(fault["stage"], fault["analysis"]) for fault in faults} == {one for one in harmed if one[1] == "v2"}
    code, faults = found(with_v2, capsys, "--repair")
    assert code == 1
    assert {(fault["stage"], fault["analysis"]) for fault in faults} == harmed
    gone = {(stage, "A01", analysis) for stage, analysis in harmed}
    assert {one for one in before - results(with_v2) if len(one) == 3} == gone
    assert found(with_v2, capsys) == (0, [])


OF_THE_PLATE: dict[str, tuple[str, Damage, set[tuple[str, ...]]]] = {
    "too short a well list": (
        "complete",
        lambda plate: list_wells(plate.raw, ["A01"]),
        {("records/complete", "plate")},
    ),
    "spoilt metadata of the plate": (
        "skeleton",
        lambda plate: spoil(plate.raw / "zarr.json"),
        {("records/skeleton", "plate")},
    ),
    "a plate that is none": (
        "skeleton",
        lambda plate: write_group(plate.raw, {}),
        {("records/skeleton", "plate")},
    ),
    "spoilt metadata of a row": (
        "skeleton",
        lambda plate: spoil(plate.raw / "A" / "zarr.json"),
        {("records/skeleton", "plate")},
    ),
    "a spoilt record of a batch": (
        "ingest",
        lambda plate: spoil(plate.record("ingest", "B01-B01")),
        {("records/ingest", "B01-B01")},
    ),
    "a record that is none": (
        "segment",
        lambda plate: plate.record("segment", "A01-B01").write_text("[]"),
        {("records/segment", "A01-B01")},
    ),
    "a spoilt record of the plate": (
        "calibrate",
        lambda plate: spoil(plate.record("calibrate", "plate")),
        {("records/calibrate", "plate")},
    ),
    "a truncated table of wells": (
        "aggregate",
        lambda plate: truncate(plate.wells_parquet),
        {("records/aggregate", "plate")},
    ),
    "deleted profiles": ("aggregate", lambda plate: plate.profiles.unlink(), {("records/aggregate", "plate")}),
}


@pytest.mark.parametrize(("stage", "damage", "gone"), OF_THE_PLATE.values(), ids=OF_THE_PLATE)
def test_damage_to_the_plate_drops_one_record(
    finished: PlatePaths,
    stage: str,
    damage: Damage,
    gone: set[tuple[str, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = results(finished)
    damage(finished)
    code, faults = found(finished, capsys, "--repair")
    assert code == 1
    assert [(fault["stage"], fault["well"], fault["analysis"]) for fault in faults] == [(stage, "", "")]
    assert before - results(finished) == gone
    assert found(finished, capsys) == (0, [])


def test_a_cell_table_without_a_well(finished: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    before = results(finished)
    stray = finished.cells("C07")
    shutil.copy(finished.cells("A01"), stray)
    code, [fault] = found(finished, capsys, "--repair")
    assert (code, fault["stage"], fault["well"]) == (1, "measure", "C07")
    assert results(finished) == before
    assert found(finished, capsys) == (0, [])


def test_what_an_interrupted_run_left(finished: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    before = results(finished)
    unfinished, discarded = finished.raw / "C" / ".07.0a1b.tmp", finished.raw_well("A01") / ".0.0a1b.old"
    write_group(unfinished / "0", {})
    shutil.copytree(finished.raw_well("A01") / "0", discarded)
    code, faults = found(finished, capsys)
    assert code == 1
    assert {(fault["stage"], fault["well"]) for fault in faults} == {("", "")}
    assert {fault["found"].split(": ")[1] for fault in faults} == {str(unfinished), str(discarded)}
    with hold(finished.lock):  # a run that works may have both there by right
        assert found(finished, capsys) == (0, [])
    assert found(finished, capsys, "--repair")[0] == 1
    assert (unfinished.exists(), discarded.exists()) == (False, False)
    assert results(finished) == before
    assert found(finished, capsys) == (0, [])


def test_many_faults_are_told_in_words_and_repaired_at_once(
    with_v2: PlatePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    alter(shard(with_v2.raw_well("A01") / "0" / "0"))
    truncate(shard(with_v2.raw_well("B01") / "1/labels/nuclei_v2/0"))
    with_v2.cells("B01").unlink()
    assert verify(with_v2) == 1
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith("P1: 3 fault(s): run again with --repair")
    assert [line.split()[:2] for line in lines] == [["A01", "ingest"], ["B01", "measure"], ["B01", "segment"]]
    assert lines[2].split()[2] == "v2"
    assert verify(with_v2, "--repair") == 1
    assert "dropped; run snakemake" in capsys.readouterr().out
    assert committed_wells(with_v2.raw) == ["B01"]
    assert found(with_v2, capsys) == (0, [])


def test_a_plate_that_has_hardly_begun_is_clean(
    finished: PlatePaths, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bare = PlatePaths(tmp_path / "P2")
    bare.folder.mkdir()
    shutil.copy(finished.manifest, bare.manifest)
    assert found(bare, capsys) == (0, [])


def test_unfinished_segmentation_is_no_fault(finished: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    """A job was killed between two fields: the next run makes the well anew."""
    finished.record("segment", "A01-B01").unlink()
    edit(finished.raw_well("A01") / "1/labels/zarr.json", lambda group: ours(group).pop(""))
    assert found(finished, capsys) == (0, [])


def test_several_plates_in_a_folder(finished: PlatePaths, capsys: pytest.CaptureFixture[str]) -> None:
    other = PlatePaths(finished.folder.parent / "P2")
    shutil.copytree(finished.folder, other.folder)
    shard(other.raw_well("B01") / "0" / "0").unlink()
    assert main(["verify", str(finished.folder.parent), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["P1"], len(told["P2"])) == ([], 1)


def test_no_plate_at_all_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "there is no manifest.json" in capsys.readouterr().err


def test_repairing_is_refused_while_a_run_holds_the_plate(
    finished: PlatePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    finished.cells("A01").unlink()
    with hold(finished.lock):
        assert verify(finished, "--repair") == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("wellpose verify: ")
        assert f"process {os.getpid()} on {os.uname().nodename}" in line
        assert finished.record("measure", "A01-B01").exists()
        assert verify(finished) == 1  # looking is allowed
    assert verify(finished, "--repair") == 1


def test_repairing_is_refused_while_a_job_works_that_outlived_its_run(
    finished: PlatePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        job = stack.enter_context(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        claim = Claim("x", os.uname().nodename, job.pid, None, ("A01",), time.time(), time.time())
        write_json(PlatePaths(finished.folder, "v2").claim("segment", "A01-B01"), asdict(claim))
        assert verify(finished, "--repair") == 2
        assert "a job of segment still works on plate P1" in capsys.readouterr().err
        job.kill()
        job.wait()
        assert verify(finished, "--repair") == 0


def test_trouble_with_the_machine_is_no_fault(finished: PlatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a lack of memory, or of a permission, would be repaired by dropping good wells."""
    for error in (MemoryError(), PermissionError(13, "not yours"), OSError(24, "too many open files")):

        def fail(_: Path, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("pipeline_lib.stages._faults.read_array", fail)
        with pytest.raises(type(error)):
            faults_of(finished)


def test_the_next_run_makes_again_what_was_dropped_and_nothing_else(finished: PlatePaths) -> None:
    outcomes = read_json(finished.record("ingest", "A01-A02"))["wells"]
    assert {well: outcome["status"] for well, outcome in outcomes.items()} == {"A01": "done", "A02": "quarantined"}
    shutil.rmtree(finished.raw_well("A01"))
    assert verify(finished, "--repair") == 1
    assert not finished.record("ingest", "A01-A02").exists()
    assert read_json(finished.record("ingest", "B01-B01"))["wells"]["B01"]["status"] == "done"
