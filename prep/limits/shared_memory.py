"""Shared memory, through which worker processes pass batches: its size, and what to do if it is too small.

Containers often have 64 MB, where a full batch of 256 images of 224 pixels takes 39 MB. A worker that writes beyond the
end is ended by the system with a bus error.
"""

import shutil

from .shortage import Shortage, size_text

PLACE = "/dev/shm"


def shared_memory() -> int | None:
    """Return the bytes of shared memory; None if the system has none."""
    try:
        return shutil.disk_usage(PLACE).total
    except OSError:
        return None


def too_little_shared_memory(found: str, need: int) -> Shortage:
    """Return what too little shared memory means. ``found`` says how much there is; ``need`` are the bytes needed."""
    gib = -(-need // 2**30)
    return Shortage(
        found=found,
        consequence='workers of imagefolder and webdataset end with "bus error"; threaded does not use shared memory',
        remedy=f"docker run --shm-size={gib}g ... (or sudo mount -o remount,size={gib}G {PLACE})",
    )


def shared_memory_is_full() -> str:
    """Return the sentence for a worker that found shared memory full."""
    size = shared_memory()
    if size is None:
        return f"the system has no shared memory ({PLACE}) for the batches of workers; use --loader threaded"
    found = f"{PLACE} has {size_text(size)}, which the batches of the workers exceed"
    shortage = too_little_shared_memory(found, 2 * size)
    return (
        f"{shortage.found}; use --loader threaded, which does not use it, fewer --workers, a smaller --batch-size, "
        f"or more shared memory: {shortage.remedy}"
    )
