"""When the compiled decoder may be used: compiling takes about a minute on a processor that is new to it.

Another process compiles, so that a loader opens at once and its threads keep the GIL. What it made is kept on disk, and
loading that takes a second. Until then images are decoded without the compiled functions, with the same pixels. Of all
processes of a user, such as the ranks of a training, one compiles: it holds a lock on a file next to the result.

    python -m feedline.loaders.pixels.ready          compiles now
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import IO

import llvmlite.binding as llvm
import numba
import numpy as np

from ...prep.base.compiled import unkept
from ...prep.base.disks import in_bytes, reason_of
from ...prep.limits.reached import limit_reached
from ..spec import LoaderSpec
from ..support.damage import log
from .crop_plans import plan_crops
from .crops import framing_of
from .fused.decode import decode_many
from .fused.fit import fit_pixels
from .fused.plan import FIELDS
from .fused.raw import fit_many
from .fused.scratch import make_scratch, second_scratch
from .fused.vectors.compiling import CACHE

_WHAT = "the decoder for this processor, which takes about a minute, once"
_MEANWHILE = "libjpeg-turbo and Pillow decode, more slowly, to the same pixels"
ROOM = 32_000_000  # bytes; what is compiled takes 10 MB
_NICE = 10  # of a process that compiles while others have work to do

_lock = threading.Lock()
_loaded = threading.Event()
_compiling: subprocess.Popen[bytes] | None = None
_reported = False


def begin() -> None:
    """Compile in another process, unless it was done before for this version and this processor, or is under way."""
    global _compiling, _reported
    with _lock:
        if _loaded.is_set() or _compiling is not None or _marker().is_file():
            return
        said, text = _reported, _cannot_keep()
        if text is None:
            with _locked(wait=False) as held:
                text = f"{'another process is ' if held is None else ''}compiling {_WHAT}; until then {_MEANWHILE}"
                if held is not None:
                    try:
                        _compiling = _start(held)
                        atexit.register(_compiling.kill)
                    except OSError as error:  # a limit on processes
                        text = f"the decoder is not compiled: {limit_reached(error) or error}; {_MEANWHILE}"
        if not said:
            log.warning("%s", text)
        _reported = True


def usable() -> bool:
    """Return whether the compiled functions can be called now; load them if another process has compiled them."""
    if _loaded.is_set():
        return True
    if not _marker().is_file() or not _lock.acquire(blocking=False):
        return False
    try:
        if not _loaded.is_set():
            _load()
    finally:
        _lock.release()
    return True


def prepare() -> None:
    """Compile or load now, for a measurement or a test that must not meet either."""
    if _compiling is not None:
        _compiling.wait()
    with _lock:
        if _loaded.is_set():
            return
        if _marker().is_file() or not is_kept():
            _load()
            return
        with _locked(wait=True):
            _load()
            _remember()


def compile_ahead() -> None:
    """Compile now, for other processes, unless one of them does; print what happens, a line each."""
    if _marker().is_file():
        return
    if problem := _cannot_keep():
        print(problem, flush=True)
        return
    with _locked(wait=False) as held:
        if held is not None:
            print(f"compiling {_WHAT}, in the background", flush=True)
            _load()
            _remember()


def is_kept() -> bool:
    """Return whether what is compiled can be kept for other processes."""
    return _cannot_keep() is None


def _cannot_keep() -> str | None:
    """Return why what is compiled cannot be kept, with the next step; None if it can."""
    why = f"the decoder is not compiled, because every process would compile it again; {_MEANWHILE}"
    remedy = "set NUMBA_CACHE_DIR to a folder that can be written"
    try:
        Path(CACHE).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=CACHE).close()
        free = shutil.disk_usage(CACHE).free
    except OSError as error:
        if limit := limit_reached(error):
            return f"{limit}; {why}"
        return f"{CACHE} cannot be written: {reason_of(error, CACHE)}; {why}; {remedy}"
    if free < ROOM:
        return f"the disk of {CACHE} has {in_bytes(free)} free, and {in_bytes(ROOM)} are needed; {why}; {remedy}"
    return None


def _load() -> None:
    """Have numba compile, or load what it compiled, for the types of the arguments here, which are always the same."""
    scratch, plans, none = make_scratch(8), np.zeros((0, FIELDS), np.int64), np.zeros(0, np.uint8)
    decode_many(plans, False, scratch, second_scratch(scratch), none, none)
    plan_crops(plans, np.zeros((0, 0)), framing_of(LoaderSpec(root=Path(CACHE), image_size=8)))
    fit_many(plans, scratch, none, none)
    fit_pixels(none, 0, 0, np.zeros(FIELDS, np.int64), scratch, none)
    _loaded.set()


def _remember() -> None:
    """Note that this version is compiled for this processor, unless its disk was too full to keep it."""
    if not unkept:
        with suppress(OSError):
            _marker().touch()


def _start(held: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process that compiles. It takes the lock over where a process can; on Windows it takes its own."""
    command, null = [sys.executable, "-P", "-m", __name__], subprocess.DEVNULL
    if sys.platform == "win32":
        return subprocess.Popen(command, stdin=null, stdout=null, stderr=null)
    return subprocess.Popen([*command, "--locked"], stdin=null, stdout=null, stderr=null, pass_fds=(held.fileno(),))


@contextmanager
def _locked(*, wait: bool) -> Generator[IO[bytes] | None]:
    """Hold the lock of the process that compiles; without ``wait``, yield None if another process has it."""
    with _lock_file() as file:
        yield file if _take(file, wait) else None


def _lock_file() -> IO[bytes]:
    try:
        return (Path(CACHE) / "compiling.lock").open("ab")
    except OSError:  # another user's, in a folder for all: then each user may compile
        return tempfile.TemporaryFile(dir=CACHE)


def _take(file: IO[bytes], wait: bool) -> bool:
    """Lock a file until it is closed; return False if another process has locked it.

    A file system without locks counts as free: then two processes may compile the same, which does no harm.
    """
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError:  # LK_LOCK gives up after ten seconds
                if not wait:
                    return False
            else:
                return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@lru_cache(maxsize=1)
def _marker() -> Path:
    """Return the file that says that numba finds this version compiled: for this processor, and these source files.

    numba keeps what it compiled per place and time of change of each source. A second installation of the same
    version, or the same one installed again, is compiled again.
    """
    processor = f"{sys.version} {numba.__version__} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    sources = [f"{path} {path.stat().st_mtime_ns}" for path in sorted(Path(__file__).parent.rglob("*.py"))]
    digest = sha256("\n".join([processor, *sources]).encode("utf-8", "surrogateescape")).hexdigest()
    return Path(CACHE) / f"{digest[:16]}.compiled"


def main(words: list[str]) -> None:
    """Compile, as ``compile_ahead`` with ``--ahead``, or with ``--locked`` in a process that has the lock."""
    if words == ["--ahead"]:
        with suppress(AttributeError, OSError):  # Windows has no such call
            os.nice(_NICE)
        compile_ahead()
    elif words == ["--locked"]:
        _load()
        _remember()
    else:
        prepare()


if __name__ == "__main__":
    main(sys.argv[1:])
