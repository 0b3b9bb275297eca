"""OME-TIFF plates: TIFF files, and OME-XML that says which page of which file is which plane of which field.

The XML is a file of its own (`*.companion.ome`), or stands in the first page of the TIFF files; those may hold nothing
but the name of the file with the XML (`BinaryOnly`). What it says is told in `ome_xml`. One file is opened for it.

Channels are numbered as in the index, from 0. Fields have no numbers in OME: they are counted from 0 in each well, in
the order of their `Index`. Positions are those of the `WellSample` elements, else those of the planes; y is taken to
grow downwards, as in the image. Nothing tells of failed images, of the kind of plate, or of illumination.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from pipeline_lib.core.manifest import ChannelFacts, ImageFile, PlateFacts, Position
from pipeline_lib.io.markup import elements
from pipeline_lib.io.vendors.base import ImageInfo, Listing, Reader, Scan, beside, only_index, refuse
from pipeline_lib.io.vendors.ome_xml import TAGS, Content, Image, Instrument, Plate, Sample, elements_of, read_content
from pipeline_lib.io.vendors.tiff_text import description

if TYPE_CHECKING:
    import tifffile

COMPANION = ".companion.ome"
IMAGES = (".ome.tif", ".ome.tiff", ".ome.tf2", ".ome.tf8", ".ome.btf")
_TRIED = 8  # files looked at for a plate
_MOST_PLANES = 5_000_000  # of a plate
_SHOWN = 3


def scan(folder: Path, listing: Listing, pattern: str) -> Scan:  # noqa: ARG001 - the index names the files
    """The images of one plate. `pattern` is not used.

    Raises:
        ValueError: There is no index with a plate, or more than one, or it is damaged.
    """
    if not listing.ending(COMPANION, *IMAGES):
        return Scan(())
    index, content = _index(folder, listing)
    plate = _only_plate(index, content)
    fields = _fields(index, plate, content)
    files = _renamed(index, _files(index, fields), listing)
    _check_all_named(index, files, listing)
    images = [field.image for field in fields]
    return Scan(
        files,
        shape=plate.shape,
        selected=tuple(plate.wells),
        channels=_channels(index, fields),
        facts=_facts(plate, images, content.instruments),
        positions=_positions(fields),
    )


def _index(folder: Path, listing: Listing) -> tuple[str, Content]:
    """The file whose XML describes a plate, and what it says."""
    if companions := listing.ending(COMPANION):
        index = only_index(folder, companions)
        return index, _content(folder, index)
    images = listing.ending(*IMAGES)
    lacks = []
    for index in images[:_TRIED]:
        try:
            content = _content(folder, index)
        except ValueError as error:
            lacks.append(str(error))
            continue
        if content.elsewhere:
            return _elsewhere(folder, listing, beside(index, content.elsewhere), index)
        if content.plates or any(kind != "Image" for kind, _ in content.broken):
            return index, content
        lacks.append(f"the OME-XML of {index} has no <Plate>")
    raise ValueError(
        f"{folder}: none of the first {len(lacks)} of {len(images)} OME-TIFF files says which well its images are of: "
        f"{'; '.join(lacks[:_SHOWN])}. If the file names say it, use the format `pattern`"
    )


def _elsewhere(folder: Path, listing: Listing, named: str, image: str) -> tuple[str, Content]:
    if named not in listing.paths:
        raise ValueError(f"{image} says that its metadata are in {named}, which is not there; copy it into {folder}")
    return named, _content(folder, named)


def _content(folder: Path, index: str) -> Content:
    return read_content(_elements(folder, index))


def _elements(folder: Path, index: str) -> Iterator[Element]:
    if not index.lower().endswith(IMAGES):
        yield from elements(folder / index, *TAGS)
        return
    text = description(folder / index)
    if not text:
        raise ValueError(f"{folder / index} has no description, where OME-XML is expected")
    try:
        yield from elements_of(text)
    except ValueError as error:
        raise ValueError(f"{folder / index}: {error}") from error


def _only_plate(index: str, content: Content) -> Plate:
    _refuse(index, [f"{kind} {key!r}: {told}" for (kind, key), told in content.broken.items() if kind != "Image"])
    plates = [plate for plate in content.plates if any(one.image for well in plate.wells.values() for one in well)]
    if not plates:
        raise ValueError(
            f"{index} has no <Plate> with images in its wells, so that it is not known which well an image is of. "
            "If the file names say it, use the format `pattern`"
        )
    if len(plates) > 1:
        names = ", ".join(repr(plate.name) for plate in plates[:_SHOWN])
        raise ValueError(f"{index} describes {len(plates)} plates: {names}. One is expected: write them to a file each")
    if plates[0].runs > 1:
        raise ValueError(
            f"{index} has images of {plates[0].runs} acquisitions of its plate (PlateAcquisition), so several "
            "measurements. One is expected: write them to a folder each"
        )
    return plates[0]


@dataclass(frozen=True)
class _Field:
    well: str
    number: int
    sample: Sample
    image: Image


def _fields(index: str, plate: Plate, content: Content) -> list[_Field]:
    """Fields that have an image, with it."""
    faults, found = [], []
    owners: dict[str, str] = {}
    for well, samples in plate.wells.items():
        for number, sample in enumerate(samples):
            key = sample.image
            if not key:
                continue
            if key in owners:
                faults.append(f"the image {key!r} is named by wells {owners[key]} and {well}")
            elif ("Image", key) in content.broken:
                faults.append(f"Image {key!r}: {content.broken['Image', key]}")
            elif key not in content.images:
                faults.append(f"well {well} names the image {key!r}, which the index does not describe")
            else:
                found.append(_Field(well, number, sample, content.images[key]))
            owners.setdefault(key, well)
    _refuse(index, faults)
    return found


def _files(index: str, fields: Sequence[_Field]) -> tuple[ImageFile, ...]:
    if sum(len(field.image.planes) for field in fields) > _MOST_PLANES:
        raise ValueError(f"{index} lists more than {_MOST_PLANES:,} planes: it is damaged")
    files: dict[tuple[str, int, int, int, int], ImageFile] = {}
    pages: set[tuple[str, int]] = set()
    paths: dict[str | None, str] = {}
    faults = []
    for field in fields:
        for plane in field.image.planes:
            try:
                path = paths.get(plane.file) or paths.setdefault(plane.file, _path(index, plane.file))
            except ValueError as error:
                faults.append(str(error))
                continue
            key = (field.well, field.number, plane.channel, plane.time, plane.z)
            if key in files:
                faults.append(f"{_words(key)} is named twice, in {files[key].path} and {path}")
            elif (path, plane.page) in pages:
                faults.append(f"page {plane.page} of {path} is {_words(key)} and another plane")
            files[key] = ImageFile(*key[:2], str(plane.channel), plane.time, plane.z, path, plane.page)
            pages.add((path, plane.page))
    _refuse(index, faults)
    return tuple(files.values())


def _words(plane: tuple[str, int, int, int, int]) -> str:
    well, field, channel, time, z = plane
    return f"channel {channel}, time {time}, z {z} of field {field} of {well}"


def _path(index: str, name: str | None) -> str:
    if name is not None:
        return beside(index, name)
    if not index.lower().endswith(IMAGES):
        raise ValueError("a TiffData names no file (UUID with FileName), and the index is no image itself")
    return index


def _renamed(index: str, files: tuple[ImageFile, ...], listing: Listing) -> tuple[ImageFile, ...]:
    """One file that holds all, and has another name by now, is the one that the XML was read from."""
    paths = {file.path for file in files}
    if len(paths) > 1 or paths <= set(listing.paths) or not index.lower().endswith(IMAGES):
        return files
    return tuple(replace(file, path=index) for file in files)


def _check_all_named(index: str, files: tuple[ImageFile, ...], listing: Listing) -> None:
    """Where the index is one of the images, each other image is named by it, or may have an index of its own."""
    others = sorted(set(listing.ending(*IMAGES)) - {file.path for file in files} - {index})
    if others and index.lower().endswith(IMAGES):
        raise ValueError(
            f"the OME-XML of {index} does not name {len(others)} OME-TIFF files beside it, such as "
            f"{', '.join(others[:_SHOWN])}, so there may be several measurements. Give each a folder of its own, or "
            "use the format `pattern`"
        )


def _channels(index: str, fields: Sequence[_Field]) -> dict[str, ChannelFacts]:
    """What the first image says of each channel; all images must call them the same."""
    found: dict[str, ChannelFacts] = {}
    faults = []
    for field in fields:
        for number, told in enumerate(field.image.channels):
            first = found.setdefault(str(number), told)
            if first.name != told.name:
                where = f"field {field.number} of {field.well}"
                faults.append(f"channel {number} is {told.name!r} in {where}, and {first.name!r} before")
    _refuse(index, faults)
    return found


def _facts(plate: Plate, images: Sequence[Image], instruments: Mapping[str, Instrument]) -> PlateFacts:
    """What the first image says, and when the first one was taken."""
    if not images:
        return PlateFacts()
    first = images[0]
    objectives = {key: facts for one in instruments.values() for key, facts in one.objectives.items()}
    lone = next(iter(objectives.values())) if len(objectives) == 1 else (None, None)
    magnification, aperture = objectives.get(first.objective, lone)
    microscopes = [instruments[first.instrument]] if first.instrument in instruments else list(instruments.values())
    moments = [image.acquired for image in images if image.acquired]
    return PlateFacts(
        pixel_size=first.pixel_size,
        z_step=first.z_step,
        time_step=first.time_step,
        magnification=magnification,
        numerical_aperture=aperture,
        acquired=plate.started or min(moments, default=None),
        instrument=next((one.name for one in microscopes if one.name), None),
    )


def _positions(fields: Sequence[_Field]) -> dict[str, dict[int, Position]]:
    """Of the wells where all fields have one of the same kind, and not all the same one, as files without any write."""
    wells: dict[str, list[_Field]] = {}
    for field in fields:
        wells.setdefault(field.well, []).append(field)
    found: dict[str, dict[int, Position]] = {}
    for well, members in wells.items():
        for places in ([one.sample.place for one in members], [one.image.place for one in members]):
            told = {one.number: place for one, place in zip(members, places, strict=True) if place is not None}
            if len(told) == len(members) and (len(told) == 1 or len(set(told.values())) > 1):
                found.setdefault(well, told)
    return found


def _refuse(index: str, faults: Sequence[str]) -> None:
    """All that is wrong with an index, in one message."""
    refuse(
        f"{index} is damaged, or not written as OME-XML should be; {len(faults)} faults. Have it written again:", faults
    )


def recognises(listing: Listing) -> bool:
    """Names that no other format has."""
    return bool(listing.ending(COMPANION, *IMAGES))


def describe(path: Path) -> ImageInfo:
    """The metadata of one file, each page of which is a plane of its own: (1, Y, X). The index says the rest.

    Raises:
        UnreadableImage: See `pipeline_lib.io.images.read_planes`.
    """
    from pipeline_lib.io.images import NUMBER_TYPES, check_page_list, open_tiff

    with open_tiff(path) as tif:
        check_page_list(tif)
        first, last = tif.pages[0].aspage(), tif.pages[-1].aspage()
        if len(first.shape) != 2 or str(first.dtype) not in NUMBER_TYPES:
            raise ValueError(f"a page is {first.shape} {first.dtype}: expected one grey plane (Y, X)")
        _check_inside(first, tif.filehandle.size)
        _check_inside(last, tif.filehandle.size)
        height, width = first.shape
        return ImageInfo((1, height, width), str(first.dtype), first.bitspersample)


def _check_inside(page: tifffile.TiffPage, size: int) -> None:
    """The pixels of a page lie inside the file; those of the last one are lost first."""
    ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or max(ends) > size:
        raise ValueError(f"the file is cut off: the pixels of page {page.index} are not in it")


READER = Reader(
    scan, recognises, expects="*.companion.ome, or *.ome.tif files with a plate in their OME-XML", describe=describe
)
