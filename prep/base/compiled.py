"""How hot loops are compiled: by numba, without the GIL, kept on disk for the next process.

numba takes a tenth of a second to import, so only the modules that hold such loops import this one.
"""

import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from ..limits.memory import require_addresses
from .paths import cache_folder

F = TypeVar("F", bound=Callable[..., Any])
FIRST, ROOM = 256_000_000, 64_000_000
"""Bytes of addresses for compiling or loading the first function of a process, and another one.

Without them LLVM ends the process, and OpenBLAS, which numba loads with the first one, waits for ever.
"""

_config: Any = getattr(numba, "config")  # noqa: B009 - not among the names that numba exports
_njit = cast(Callable[..., Any], numba.njit)  # pyright: ignore[reportUnknownMemberType]


def compiled(function: F) -> F:
    """Return ``function`` compiled on its first call. Array indexes in it must stay within bounds by design."""
    with _cache_of_the_user():
        try:
            return kept_if_possible(_njit(nogil=True, cache=True)(function))
        except RuntimeError:  # a user without a writable home has no place for the cache
            return _njit(nogil=True)(function)


unkept = Counter[str]()
"""What could not be kept on disk, by the name of the function: this process uses it all the same."""
_first_loaded = threading.Event()


def kept_if_possible(function: F) -> F:
    """Let a compiled function be used even if numba cannot write it to its cache, as on a full disk.

    Its first call raises MemoryError if a limit on addresses (``ulimit -v``) leaves too little for it.
    """
    cache: Any = getattr(function, "_cache", None)  # numba has no public name for it
    load, save = getattr(cache, "load_overload", None), getattr(cache, "save_overload", None)
    if load is None or save is None:
        return function

    def load_overload(signature: Any, context: Any) -> Any:  # the first step of each call with types that are new
        require_addresses(ROOM if _first_loaded.is_set() else FIRST)
        found = load(signature, context)
        _first_loaded.set()
        return found

    def save_overload(signature: Any, data: Any) -> None:
        try:
            save(signature, data)
        except OSError:
            unkept[getattr(function, "__name__", "")] += 1

    cache.load_overload, cache.save_overload = load_overload, save_overload
    return function


@contextmanager
def _cache_of_the_user() -> Generator[None, None, None]:
    """Let numba keep what it compiles in the user's cache folder.

    Next to the sources, which is numba's default, the cache outlives an uninstall. The folder that is left then hides
    an editable installation of feedline.
    """
    before = _config.CACHE_DIR
    _config.CACHE_DIR = before or str(cache_folder())
    try:
        yield
    finally:
        _config.CACHE_DIR = before


@compiled
def number(array: npt.NDArray[np.integer[Any]], index: int) -> int:
    """Return an element as int64: numba would make a float of an unsigned number and a signed one."""
    return np.int64(array[index])  # pyright: ignore[reportReturnType]  (int64 is what int means to numba)
