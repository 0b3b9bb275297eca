"""The middle of an image: centred, no larger than asked, and all of a small one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.core.middle import middle


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_middle_is_centred_and_as_large_as_asked_or_as_there_is(length: int, side: int) -> None:
    (found,) = (np.arange(length)[part] for part in middle((length,), side))
    assert len(found) == min(length, side)
    assert found[0] - (length - 1 - found[-1]) in (0, -1)


def test_each_axis_has_its_own() -> None:
    assert middle((10, 4), 5) == (slice(2, 7), slice(0, 4))
