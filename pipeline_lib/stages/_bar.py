"""A progress bar on the terminal; a line every half minute where a log file takes its place."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LIVE, LOGGED = 0.1, 30.0  # seconds between two updates
PLAIN = "{l_bar}{bar}| {n_fmt}/{total_fmt}"


def bar(title: str, total: float, layout: str = PLAIN) -> Any:
    """A bar from 0 to `total`, moved by its `update`; to be used in a `with` statement."""
    every = LIVE if sys.stderr.isatty() else LOGGED
    return tqdm(total=total, desc=title, bar_format=layout, mininterval=every, maxinterval=every)


def counted(title: str, total: int, items: Iterable[Item]) -> Iterator[Item]:
    """The same items, while a bar shows how many of them are done with."""
    with bar(title, total) as shown:
        for item in items:
            yield item
            shown.update()
