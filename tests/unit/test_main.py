"""The command line: quick to say what it can do, clear about what it cannot."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from pipeline_lib import __main__ as cli
from pipeline_lib import __version__
from pipeline_lib.core.wells import well_list
from pipeline_lib.settings import IngestSettings
from pipeline_lib.stages import _job
from pipeline_lib.stages import complete as complete_stage

REPOSITORY = Path(__file__).parents[2]
HEAVY = {"numpy", "torch", "zarr", "pandas", "scipy", "numba", "tifffile", "skimage", "pyarrow"}


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line sets threads for its own process and logs to the terminal; here neither."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


@pytest.mark.parametrize("words", [["--help"], ["measure", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys; from pipeline_lib.__main__ import main\n"
        f"try: main({words!r})\n"
        f"except SystemExit as end: assert not end.code\n"
        f"sys.exit(','.join({HEAVY!r} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    assert end.value.code == 0
    told = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")}
    assert told >= {*cli.STAGES, *cli.COMMANDS}


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out
    assert callable(import_module(f"pipeline_lib.stages.{command.replace('-', '_')}").run)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "required: VERB"),
        (["mesure"], "invalid choice: 'mesure'"),
        (["measure"], "required: --plate, --settings, --record"),
        (["measure", "--plate", "p", "--settings", "{}", "--record", "r", "--wells", "A01,Q99"], "'A01,Q99'"),
    ],
)
def test_wrong_words_are_refused_with_what_is_allowed(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert told in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_a_stage_is_called_once_with_what_the_words_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[_job.Job] = []
    monkeypatch.setattr(complete_stage, "complete", jobs.append)
    settings = IngestSettings(projection="keep")
    words = ["complete", "--plate", str(tmp_path / "P1"), "--wells", "A1,b12", "--settings", settings.to_json()]
    code = cli.main([*words, "--plate-map", "map.csv", "--threads", "3", "--record", str(tmp_path / "r.json")])
    assert code == 0
    [job] = jobs
    assert (job.stage, job.name, job.wells, job.settings) == ("complete", "P1", ("A01", "B12"), settings)
    assert (job.plate_map, job.record) == (Path("map.csv"), tmp_path / "r.json")
    assert os.environ["OMP_NUM_THREADS"] == os.environ["NUMBA_NUM_THREADS"] == "3"


def test_a_command_tells_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reset", str(tmp_path / "P1")]) == 2
    assert capsys.readouterr().err == (
        f"wellpose reset: {tmp_path / 'P1'} is not a plate's results folder: it has no manifest.json\n"
    )


def test_a_stage_fails_loudly(tmp_path: Path) -> None:
    """A job's log keeps the whole traceback."""
    words = ["complete", "--plate", str(tmp_path), "--settings", json.dumps({"wells_per_jb": 1})]
    with pytest.raises(ValueError, match="wells_per_jb"):
        cli.main([*words, "--record", str(tmp_path / "r.json")])
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("text", "wells"),
    [("A1,B03", ("A01", "B03")), ("", ()), ("af48", ("AF48",)), ("A01, B02,", ("A01", "B02")), (" ", ())],
)
def test_well_lists(text: str, wells: tuple[str, ...]) -> None:
    assert well_list(text) == wells


def test_a_well_list_with_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="'B' is not a well"):
        well_list("A01,B")
