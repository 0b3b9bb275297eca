"""CellInsight and ArrayScan microscopes (Thermo Fisher, Cellomics), with their images exported as TIFF files.

A file is `<measurement>_<well>f<field>d<channel>.TIF`, such as `MFGTMP_140220040001_A01f00d0.TIF`; fields and channels
count from 0, with as many digits as are needed. Time points (`t01`) and planes (`z02`) may stand anywhere after the
well. With an `o1` it is a picture of the objects found and no raw image, so it is left aside. How t, z and o are
written is documented nowhere.

There is no index to read: what else is known of a plate is in the vendor's database, exported as a `.mdb` file for
Microsoft Access, which is not read; nor are `.C01` and `.DIB` images. What the tags of the TIFF files say is found when
they are opened.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline_lib.core.manifest import ImageFile
from pipeline_lib.core.wells import parse_well
from pipeline_lib.io.vendors.base import Listing, Reader, Scan, refuse

_NAME = re.compile(
    r"(?:(?P<barcode>.+)_)?(?P<well>[A-Z]{1,2}[0-9]{1,2})(?P<parts>(?:[fdtzo][0-9]{1,5})+)\.tiff?",
    re.IGNORECASE | re.DOTALL,
)
_PART = re.compile("([fdtzo])([0-9]+)", re.IGNORECASE)
_SHOWN = 3


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the names are the vendor's own
    """The images of one measurement, by their names. `pattern` is not used.

    Raises:
        ValueError: The folder holds several measurements, or wells that cannot be.
    """
    files, faults, measurements = [], [], set()
    for path in listing.paths:
        match = _NAME.fullmatch(path.rpartition("/")[2])
        numbers = _numbers(match)
        if match is None or not numbers or "o" in numbers:
            continue
        measurements.add((path.rpartition("/")[0] or ".", match["barcode"] or ""))
        try:
            files.append(_image_file(path, match["well"], numbers))
        except ValueError as error:
            faults.append(f"{path}: {error}")
    if len(measurements) > 1:
        shown = ", ".join(f"{home}/{barcode}" for home, barcode in sorted(measurements)[:_SHOWN])
        raise ValueError(f"{folder} holds {len(measurements)} measurements: {shown}. Put each into a folder of its own")
    refuse(f"{len(faults)} of the images in {folder} are of no well; rename or remove them:", faults)
    return Scan(tuple(files))


def _numbers(match: re.Match[str] | None) -> dict[str, int]:
    """Letter -> number; nothing if it is not the name of an image: field and channel are always there, none twice."""
    parts = [(letter.lower(), int(number)) for letter, number in _PART.findall(match["parts"])] if match else []
    numbers = dict(parts)
    return numbers if len(numbers) == len(parts) and numbers.keys() >= {"f", "d"} else {}


def _image_file(path: str, well: str, numbers: dict[str, int]) -> ImageFile:
    return ImageFile(
        well=parse_well(well),
        field=numbers["f"],
        channel=str(numbers["d"]),
        time=numbers.get("t", 0),
        z=numbers.get("z", 0),
        path=path,
    )


def recognises(listing: Listing) -> bool:
    """Names with a measurement, a well, a field and a channel."""
    matches = (_NAME.fullmatch(path.rpartition("/")[2]) for path in listing.paths)
    return any(match and match["barcode"] and _numbers(match) for match in matches)


READER = Reader(
    scan,
    recognises,
    expects="names like MFGTMP_140220040001_A01f00d0.TIF; images must be exported as TIFF, for .C01 is not read",
)
