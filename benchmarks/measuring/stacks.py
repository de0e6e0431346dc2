"""The stacks of a measuring process that hangs: how they are written, and how an error message is made from them.

Shortly before its timeout, the measuring process writes the stack of each of its threads to stderr. faulthandler does
this outside Python, so it works even if a C function hangs with the GIL held, and on Windows too. The parent process
finds the stacks in the rest of stderr. Stacks of worker processes are not written; for a worker that hangs, the
message names the frame in which its parent waits.
"""

import faulthandler
import re
import sys
import time
from pathlib import Path

HEADSTART = 1.0
"""Seconds before the timeout at which the stacks are written, or a fifth of the timeout if that is less."""
MOST_NAMED = 3
"""Most places that the error message names."""

_THREAD = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+.*:$")
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.+)$')
_TOP = Path(__file__).resolve().parents[2]
_FEEDLINE = tuple(_TOP / folder for folder in ("prep", "loaders", "benchmarks"))


def dump_time(timeout: float) -> float:
    """Return the time at which a run that starts now with ``timeout`` seconds writes its stacks.

    The time is that of ``time.monotonic``, which all processes of a machine share and no clock adjustment moves.
    """
    return time.monotonic() + timeout - min(HEADSTART, timeout / 5)


def dump_stacks_at(moment: float) -> None:
    """Write every thread's stack to stderr at ``moment`` of ``time.monotonic``, unless ``cancel_dump`` comes first."""
    faulthandler.dump_traceback_later(max(0.05, moment - time.monotonic()), file=sys.stderr)


def cancel_dump() -> None:
    """Cancel the dump that ``dump_stacks_at`` scheduled."""
    faulthandler.cancel_dump_traceback_later()


def stacks_in(stderr: str) -> str:
    """Return the part of ``stderr`` that faulthandler wrote, "" if there is none."""
    lines = stderr.splitlines()
    return "\n".join(line for line in lines if _THREAD.match(line) or _FRAME.match(line))


def innermost_frames(dump: str) -> str:
    """Return the innermost frame of each thread of a dump, as ``stacks_in`` returns it, the main thread's first.

    If that frame is a library's, the innermost frame of feedline is named too. Threads in the same place count once.
    """
    threads: list[list[re.Match[str]]] = []
    for line in dump.splitlines():
        frame = _FRAME.match(line)
        if frame is None:
            threads.append([])
        elif threads:
            threads[-1].append(frame)
    places = list(dict.fromkeys(_place(frames) for frames in reversed(threads) if frames))  # the main thread is last
    more = len(places) - MOST_NAMED
    return "; ".join(places[:MOST_NAMED]) + (f"; and at {more} more places" if more > 0 else "")


def _place(frames: list[re.Match[str]]) -> str:
    own = next((frame for frame in frames if _is_feedline(Path(frame["file"]))), None)
    inner = _named(frames[0])
    return inner if own is None or own is frames[0] else f"{inner}, called from {_named(own)}"


def _is_feedline(file: Path) -> bool:
    return any(file.is_relative_to(folder) for folder in _FEEDLINE)


def _named(frame: re.Match[str]) -> str:
    place = "/".join(Path(frame["file"]).parts[-2:])
    return f"{frame['function']} ({place}:{frame['line']})"
