"""Trouble with the data, as opposed to trouble with the machine."""

from __future__ import annotations


class DataTrouble(Exception):
    """What a well's own files cause. The job quarantines the well with this message and goes on.

    Everything else (out of memory, full disk, lost GPU, a defect) fails the job, which then resumes where it stopped.
    """

    kind: str = "data"
    advice: str = ""
    """What to do, where the message does not say it."""


class MissingImages(DataTrouble):
    """A well lacks a channel, plane or time point that its plate has."""

    kind = "missing channel"


class NoImages(DataTrouble):
    """A well has no image at all."""

    kind = "no image"


class FaultyWell(DataTrouble):
    """The microscope itself says that images of a well failed."""

    kind = "failed at the microscope"


class UnequalImages(DataTrouble):
    """Images that belong together differ in size or number type."""

    kind = "unequal images"
