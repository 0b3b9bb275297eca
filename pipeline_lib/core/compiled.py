"""Numba decorators that keep the type of the function they compile.

Machine code is built on the first call and kept beside the module, or in ``NUMBA_CACHE_DIR``. Division follows
numpy (0 / 0 is NaN), which also lets inner loops use vector instructions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., object]")


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; it releases the interpreter lock while it runs."""
    return cast("Function", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def compiled_parallel(function: Function) -> Function:
    """Compile like `compiled` and share the turns of each ``numba.prange`` loop among the threads."""
    return cast("Function", numba.njit(cache=True, nogil=True, parallel=True, error_model="numpy")(function))


def inlined(function: Function) -> Function:
    """For small functions that compiled ones call in their inner loops: compiled anew wherever it is called."""
    return cast("Function", numba.njit(inline="always", error_model="numpy")(function))
