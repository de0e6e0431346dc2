"""The one way hot loops are compiled here: numba, without the GIL, kept on disk for the next process.

numba costs a tenth of a second to import, so only the modules that hold such loops import this one.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])

_njit = cast(Callable[..., Any], numba.njit)  # pyright: ignore[reportUnknownMemberType]


def compiled(function: F) -> F:
    """Return ``function`` compiled on its first call. Array indexes in it must stay within bounds by design."""
    try:
        return _njit(nogil=True, cache=True)(function)
    except RuntimeError:  # a read-only installation of a user without a home has no place for the cache
        return _njit(nogil=True)(function)


@compiled
def number(array: npt.NDArray[np.unsignedinteger[Any]], index: int) -> int:
    """Return an element as int64: numba would make a float of an unsigned number and a signed one."""
    return np.int64(array[index])  # pyright: ignore[reportReturnType]  (int64 is what int means to numba)
