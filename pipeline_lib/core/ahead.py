"""Work in advance: one thing is made while the one before it is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items; each is made in a thread while the caller works with the one before.

    An error in the making is raised where that item would have come. At most two items are alive.
    """
    waiting = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, waiting, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, waiting, end)
            yield item  # type: ignore[misc]  # not the end, so an Item
