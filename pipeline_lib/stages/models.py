"""models: the official Cellpose 1-3 models. What there is, bring it here, is it still whole, rewrite it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline_lib import __version__
from pipeline_lib.core.catalogue import LICENCE_NOTE, MODELS, Model, close_names, official
from pipeline_lib.io.checksums import read_sums
from pipeline_lib.io.download import Progress
from pipeline_lib.io.size_models import convert_size_model
from pipeline_lib.io.weights import convert, find_weights, models_folder, shipped_models, user_models
from pipeline_lib.io.zoo import OFFICIAL, Fetched, Source, fetch, model_files, verify

MIRROR_VARIABLE = "WELLPOSE_MODELS_URL"
SUMS_VARIABLE = "WELLPOSE_MODELS_CHECKSUMS"
HEADS: tuple[str, ...] = ("NAME", "KIND", "CHANNELS", "DIAMETER", "FILE", "HERE", "NOTE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their flags."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="official, shipped and user-added models, and which are in the cache")
    sums = argparse.ArgumentParser(add_help=False)
    sums.add_argument(
        "--checksums", type=Path, help=f"pinned SHA-256 sums, as sha256sum writes them (default: ${SUMS_VARIABLE})"
    )
    get = actions.add_parser("fetch", parents=[sums], help="download models into the cache, whole and checked")
    get.add_argument("names", nargs="+", metavar="NAME", help="such as cyto3; its size model comes with it")
    get.add_argument(
        "--mirror", help=f"URL or folder that holds the files (default: ${MIRROR_VARIABLE}, else {OFFICIAL})"
    )
    get.add_argument("--sha256", type=_sha256, help="the checksum the file must have; for a single NAME")
    actions.add_parser("verify", parents=[sums], help="check sums and contents of all models in the cache")
    rewrite = actions.add_parser(
        "convert", help="rewrite a model as safetensors, kernels of networks in half precision"
    )
    rewrite.add_argument("source", metavar="NAME_OR_FILE")
    rewrite.add_argument("target", type=Path, metavar="OUT.safetensors")
    rewrite.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def run(parsed: argparse.Namespace) -> int:
    """Do what is asked. Returns 1 if a model could not be fetched or is not as it should be, else 0."""
    return ACTIONS[parsed.action](parsed)


def _list(_: argparse.Namespace) -> int:
    files = {path.name: path for path in model_files()}
    absent = [name for name in user_models() if name not in files]
    rows = [_row(model, files.pop(model.file, None)) for model in MODELS.values()]
    rows += [(path.stem, "not official", "", "", path.name, "yes", f"in {path.parent}") for path in files.values()]
    rows += [(name, "not official", "", "", name, "no", "named in gui_models.txt") for name in absent]
    rows.sort(key=lambda row: row[HEADS.index("HERE")] != "yes")
    rows.insert(0, HEADS)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(model: Model, path: Path | None) -> tuple[str, ...]:
    channels = f"{model.channels[0]} -> {model.channels[1]}" if model.channels else ""
    note = f"cannot be used: {model.refused}" if model.refused else model.licence_note
    return model.name, model.kind, channels, f"{model.diam_mean:g}", model.file, "yes" if path else "no", note


def _fetch(parsed: argparse.Namespace) -> int:
    shipped = shipped_models()
    named = _official(name for name in parsed.names if name not in shipped)
    for name in dict.fromkeys(name for name in parsed.names if name in shipped):
        _say(f"{name}: shipped with wellpose, nothing to fetch")
    if parsed.sha256 and len(named) > 1:
        raise ValueError(
            f"--sha256 is the checksum of one file; {len(named)} models are named. Give --checksums instead"
        )
    pins = _pins(parsed) | ({model.file: parsed.sha256 for model in named} if parsed.sha256 else {})
    source = Source(parsed.mirror or os.environ.get(MIRROR_VARIABLE) or OFFICIAL, pins)
    models = [model for one in named for model in (one, official(f"size_{one.name}")) if model]
    if noted := [model.name for model in models if model.licence_note and not model.refused]:
        _say(f"Licence: {', '.join(noted)}: {LICENCE_NOTE}. Make sure that your use is allowed.")
    failed = 0
    for model in dict.fromkeys(models):
        try:
            _say(_told(model, fetch(model, source, _progress(model.name))))
        except (ValueError, OSError) as error:
            failed += 1
            sys.stderr.write(f"wellpose models fetch {model.name}: {error}{_without(model)}\n")
    return 1 if failed else 0


def _without(model: Model) -> str:
    """What can be done without a size model that could not be fetched."""
    network = official(model.name.removeprefix("size_"))
    if model.kind != "size" or not network or not (models_folder() / network.file).is_file():
        return ""
    return f". {network.name} itself is there and usable without it: diameters are then measured on its own objects"


def _official(names: Iterable[str]) -> list[Model]:
    """The models of these names; an error that lists all names which are none."""
    found = {name: official(name) for name in dict.fromkeys(names)}
    known = [*shipped_models(), *MODELS]
    unknown = [
        f"{name!r}" + (f" (did you mean {' or '.join(close)}?)" if (close := close_names(name, known)) else "")
        for name, model in found.items()
        if model is None
    ]
    if unknown:
        raise ValueError(f"no official model is called {', '.join(unknown)}; `wellpose models list` names them all")
    return [model for model in found.values() if model]


def _told(model: Model, fetched: Fetched) -> str:
    done = "downloaded" if fetched.downloaded else "already there"
    trust = (
        f"no checksum was known: kept in {fetched.path.name}.sha256 for `verify`" if fetched.trusted else "as expected"
    )
    return f"{model.name}: {done}, {fetched.path}\n  SHA-256 {fetched.sha256} ({trust})"


def _verify(parsed: argparse.Namespace) -> int:
    bad = 0
    for verdict in verify(_pins(parsed)):
        good = "ok, checksum as expected" if verdict.pinned else f"ok, no checksum known; SHA-256 {verdict.sha256}"
        _say(f"{verdict.path}: {f'BAD, {verdict.fault}' if verdict.fault else good}")
        bad += bool(verdict.fault)
    return 1 if bad else 0


def _convert(parsed: argparse.Namespace) -> int:
    if parsed.target.suffix != ".safetensors":
        raise ValueError(f"{parsed.target}: the file to write must end in .safetensors")
    if parsed.target.exists() and not parsed.overwrite:
        raise ValueError(f"{parsed.target} exists; give another name, or --overwrite")
    asked = official(parsed.source)
    is_size = asked.kind == "size" if asked else parsed.source.endswith(".npy")
    if is_size:
        source = models_folder() / asked.file if asked else Path(parsed.source)
    else:
        source = find_weights(parsed.source)
    (convert_size_model if is_size else convert)(source, parsed.target, _metadata(source))
    _say(f"{source} -> {parsed.target}")
    return 0


def _metadata(source: Path) -> dict[str, str]:
    """What a converted file says of itself besides its source's checksum."""
    model = official(source.name)
    note = {"licence_note": model.licence_note} if model and model.licence_note else {}
    return {"name": model.name if model else source.stem, "converted_by": f"wellpose {__version__}", **note}


def _pins(parsed: argparse.Namespace) -> dict[str, str]:
    listed = parsed.checksums or os.environ.get(SUMS_VARIABLE)
    return read_sums(Path(listed).expanduser()) if listed else {}


def _sha256(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a SHA-256 sum: 64 hexadecimal digits")
    return text.lower()


def _progress(name: str) -> Progress:
    """A line that counts megabytes, where somebody watches."""

    def show(here: int, total: int | None) -> None:
        whole = f" of {total / 1e6:.1f}" if total else ""
        sys.stderr.write(f"\r{name}: {here / 1e6:.1f}{whole} MB" + "\n" * (here == total))

    def silent(here: int, total: int | None) -> None:
        """Nobody watches."""

    return show if sys.stderr.isatty() else silent


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "fetch": _fetch,
    "verify": _verify,
    "convert": _convert,
}
