"""Where a measuring process hangs: its threads' stacks, as faulthandler wrote them, and one sentence from them.

Shortly before its time is over, the measuring process writes the stack of each of its threads to stderr; that
happens outside of Python, so it works even where a C function hangs with the GIL held, and on Windows too. The parent
finds the stacks among whatever else was written there. Worker processes are not seen: there the frame in which
the parent of them waits is the best there is.
"""

import faulthandler
import re
import sys
import time
from pathlib import Path

HEADSTART = 1.0
"""Seconds before the timeout at which the stacks are written, or a fifth of the timeout where that is less."""
MOST_NAMED = 3

_THREAD = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+.*:$")
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.+)$')
_TOP = Path(__file__).resolve().parents[2]
_OURS = tuple(_TOP / folder for folder in ("prep", "loaders", "benchmarks"))


def dump_time(timeout: float) -> float:
    """Return the time, by ``time.time``, at which a run that may take ``timeout`` seconds tells where it is."""
    return time.time() + timeout - min(HEADSTART, timeout / 5)


def dump_stacks_at(moment: float) -> None:
    """Write every thread's stack to stderr at ``moment`` (by ``time.time``), unless ``cancel_dump`` comes first."""
    faulthandler.dump_traceback_later(max(0.05, moment - time.time()), file=sys.stderr)


def cancel_dump() -> None:
    """Forget about it."""
    faulthandler.cancel_dump_traceback_later()


def stacks_in(stderr: str) -> str:
    """Return the part of ``stderr`` that faulthandler wrote, "" where there is none."""
    lines = stderr.splitlines()
    return "\n".join(line for line in lines if _THREAD.match(line) or _FRAME.match(line))


def innermost_frames(dump: str) -> str:
    """Return where the threads of a dump of ``stacks_in`` are: each one's innermost frame, the main thread's first.

    Where that frame is a library's, the innermost of ours is named with it. Threads at the same place count once.
    """
    threads: list[list[re.Match[str]]] = []
    for line in dump.splitlines():
        frame = _FRAME.match(line)
        if frame is None:
            threads.append([])
        elif threads:
            threads[-1].append(frame)
    places = list(dict.fromkeys(_place(frames) for frames in reversed(threads) if frames))  # the main thread comes last
    more = len(places) - MOST_NAMED
    return "; ".join(places[:MOST_NAMED]) + (f"; and at {more} more places" if more > 0 else "")


def _place(frames: list[re.Match[str]]) -> str:
    ours = next((frame for frame in frames if _is_ours(Path(frame["file"]))), None)
    inner = _named(frames[0])
    return inner if ours is None or ours is frames[0] else f"{inner}, called from {_named(ours)}"


def _is_ours(file: Path) -> bool:
    return any(file.is_relative_to(folder) for folder in _OURS)


def _named(frame: re.Match[str]) -> str:
    place = "/".join(Path(frame["file"]).parts[-2:])
    return f"{frame['function']} ({place}:{frame['line']})"
