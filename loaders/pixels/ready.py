"""When the compiled decoder may be used: compiling takes about half a minute on a processor that is new to it.

Another process compiles, so that a loader opens at once and its threads keep the GIL. What it made is kept on disk, and
loading that takes a second. Until then images are decoded without the compiled functions, with the same pixels.

    python -m feedline.loaders.pixels.ready          compiles now
"""

import atexit
import subprocess
import sys
import threading
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import llvmlite.binding as llvm
import numba
import numpy as np

from ..spec import LoaderSpec
from ..support.damage import log
from .crop_plans import plan_crops
from .crops import framing_of
from .fused.compiling import CACHE
from .fused.decode import decode_many
from .fused.fit import fit_pixels
from .fused.plan import FIELDS
from .fused.scratch import make_scratch

_lock = threading.Lock()
_loaded = threading.Event()
_compiling: subprocess.Popen[bytes] | None = None


def begin() -> None:
    """Compile in another process, unless it was done before for this version and this processor."""
    global _compiling
    with _lock:
        if _loaded.is_set() or _compiling is not None or _marker().is_file():
            return
        log.warning(
            "compiling the decoder for this processor, which takes about a minute, once; "
            "until then libjpeg-turbo and Pillow decode, more slowly, to the same pixels"
        )
        command = [sys.executable, "-P", "-m", __name__]
        _compiling = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        atexit.register(_compiling.kill)


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
        if not _loaded.is_set():
            _load()
            _remember()


def _load() -> None:
    """Have numba compile, or load what it compiled, for the types of the arguments here, which are always the same."""
    scratch, plans, none = make_scratch(8), np.zeros((0, FIELDS), np.int64), np.zeros(0, np.uint8)
    decode_many(plans, False, scratch, none, none)
    plan_crops(plans, np.zeros((0, 0)), framing_of(LoaderSpec(root=Path(CACHE), image_size=8)))
    fit_pixels(none, 0, 0, np.zeros(FIELDS, np.int64), scratch, none)
    _loaded.set()


def _remember() -> None:
    """Note that this version is compiled for this processor."""
    try:
        _marker().touch()
    except OSError:  # no writable home, and nothing was kept
        log.info("what was compiled cannot be kept in %s", CACHE)


@lru_cache(maxsize=1)
def _marker() -> Path:
    processor = f"{sys.version} {numba.__version__} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    return Path(CACHE) / f"{sha256(processor.encode()).hexdigest()[:16]}.compiled"


if __name__ == "__main__":
    prepare()
