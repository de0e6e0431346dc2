"""Shared memory, through which worker processes pass batches: its size, and what to do if it is too small.

Containers often have 64 MB, where a full batch of 256 images of 224 pixels takes 39 MB. A worker that writes beyond the
end is ended by the system with a bus error.
"""

import shutil

from .shortage import Shortage, size_text

PLACE = "/dev/shm"


def shared_memory() -> tuple[int, int] | None:
    """Return (bytes in all, bytes that are free) of shared memory; None if the system has no such folder."""
    try:
        usage = shutil.disk_usage(PLACE)
    except OSError:
        return None
    return usage.total, usage.free


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
    sizes = shared_memory()
    if sizes is None:
        return f"the system has no shared memory ({PLACE}) for the batches of workers; use --loader threaded"
    total, free = sizes
    found = f"{PLACE} has {size_text(total)}, of which {size_text(free)} are free now"
    shortage = too_little_shared_memory(found, 2 * total)
    return (
        f"{shortage.found}, so {shortage.consequence}; use --loader threaded, fewer --workers, a smaller --batch-size, "
        f"or more shared memory: {shortage.remedy}"
    )
