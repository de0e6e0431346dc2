"""The end of a command whose memory ran out: the sentence for it, also if nothing can be imported any more.

A limit on addresses (``ulimit -v``) may be reached while a command imports its libraries. The modules that explain an
error would then not fit either.
"""

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

LESS_MEMORY = "use fewer --workers or a smaller --batch-size if the command has them"
FAILED_IMPORTS = ("failed to map segment", "cannot map", "annot allocate memory", "cannot import name")
"""What the loader of compiled libraries writes, and Python after another thread's import of the same module failed."""
_reserve = [bytearray(4 << 20)]
"""Memory for the message of a command that has used all that it may have."""


def free_memory(error: BaseException) -> None:
    """Free the reserve, and what the command held if its memory ran out."""
    _reserve.clear()
    trace = error.__traceback__ if follows_memory_error(error) else None
    while trace is not None:
        with suppress(RuntimeError):  # it still runs
            trace.tb_frame.clear()
        trace = trace.tb_next


def follows_memory_error(error: BaseException | None) -> bool:
    """Return whether a MemoryError led to this one, as where a library reports it as its own."""
    seen = set[int]()
    while error is not None and id(error) not in seen:  # one that is raised again from another may follow itself
        if isinstance(error, MemoryError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def memory_is_short() -> str:
    """Return the sentence for memory that ran out. It imports nothing."""
    limit, used = _addresses()
    if limit is None:
        return f"memory ran out; end other programs, or {LESS_MEMORY}"
    may = f"this process may have {limit // 10**6} MB of memory (ulimit -v) and has used up to {used // 10**6} MB"
    return f"memory ran out: {may}; raise that limit, or {LESS_MEMORY}"


def library_fails(error: ImportError) -> str:
    """Return the sentence for a library that cannot be loaded; near a limit on addresses it may only not fit."""
    limit, used = _addresses()
    failed = any(words in str(error) for words in FAILED_IMPORTS)
    if limit is not None and used > limit / 2 and (failed or follows_memory_error(error)):
        return memory_is_short()
    return f"a library that feedline needs cannot be loaded ({error}); install it again with pip"


@contextmanager
def dropped_errors_said(say: Callable[[str], object]) -> Generator[None, None, None]:
    """Say one sentence in place of the traceback of a MemoryError in a thread of the block, and none for __del__.

    An error of the system in a thread, such as of TensorBoard's that finds the disk full, gets a sentence too: the
    library raises it again in the thread that uses it, or the work goes on without.
    """
    thread, unraisable = threading.excepthook, sys.unraisablehook

    def in_thread(found: Any) -> None:
        if issubclass(found.exc_type, MemoryError):
            say(f"in a thread, {memory_is_short()}")
        elif issubclass(found.exc_type, OSError):
            say(f"in a thread: {found.exc_value}")
        else:
            thread(found)

    def in_object(found: Any) -> None:
        if not issubclass(found.exc_type, MemoryError):
            unraisable(found)

    threading.excepthook, sys.unraisablehook = in_thread, in_object
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = thread, unraisable


def _addresses() -> tuple[int | None, int]:
    """Return the bytes that this process may address, None if unlimited or unknown, and the most that it has."""
    limit, used = _number("/proc/self/limits", "Max address space"), _number("/proc/self/status", "VmPeak:")
    return limit, 1024 * (used or 0)


def _number(path: str, name: str) -> int | None:
    """Return the first number of a row of a file of the kernel; None if it has none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - it may not be imported yet
            return next((int(row[len(name) :].split()[0]) for row in file if row.startswith(name)), None)
    except (OSError, ValueError, IndexError):
        return None
