"""How the functions of the fused decoder are compiled: as ``prep.base.compiled`` does, and kept per version.

numba compiles a function again if its own file changed, but not if a function that it calls changed in another file.
The functions here call one another across files. So what is compiled is kept under a name that changes with any of
them. numba itself keeps one result per processor.

All but the outermost make no arrays. So numba need not count references to arrays. Otherwise it does so within the
hottest loops, which makes decoding six times slower.
"""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

from .....prep.base.compiled import kept_if_possible
from .....prep.base.paths import cache_folder
from .memory import CHECKED

F = TypeVar("F", bound=Callable[..., Any])

_config: Any = getattr(numba, "config")  # noqa: B009 - not among the names that numba exports
_njit = cast(Callable[..., Any], numba.njit)  # pyright: ignore[reportUnknownMemberType]

whole = cast(Callable[[Any], int], np.int64)
"""Make a number int64, which is what int means to numba."""


def compiled(function: F) -> F:
    """Return ``function`` compiled on its first call, to run without the GIL and to be kept on disk."""
    return _compile(function, _nrt=False)


def counted(function: F) -> F:
    """Return ``function`` compiled with references counted, for the one that makes arrays of memory."""
    return _compile(function)


def inlined(function: F) -> F:
    """Return ``function`` compiled and copied into every function that calls it."""
    return _compile(function, forceinline=True, _nrt=False)


def _compile(function: F, **options: bool) -> F:
    before = _config.CACHE_DIR
    _config.CACHE_DIR = CACHE
    try:
        return kept_if_possible(_njit(nogil=True, cache=True, **options)(function))
    except RuntimeError:  # a user without a writable home has no place for the cache
        return _njit(nogil=True, **options)(function)
    finally:
        _config.CACHE_DIR = before


def _cache_of_version() -> str:
    room = Path(__file__).parent.parent
    around = [room.parent / name for name in ("crops.py", "crop_plans.py", "dct_scaling.py")]
    sources = [*sorted(room.rglob("*.py")), *around]
    digest = sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    kind = "checked" if CHECKED else "fused"
    return os.path.join(_config.CACHE_DIR or cache_folder(), f"{kind}-{digest}")  # noqa: PTH118


CACHE = _cache_of_version()
"""The folder of what is compiled."""
