"""Disks that are full or read-only, and a full /dev/shm."""

import random

from .disks import LARGE, SHM, leave, resize, set_writable
from .kinds import Fault, Place, ended

LEAST = 16_384


def full_disk(place: Place, rng: random.Random) -> Fault:
    """Return a disk of the output that has too little room from the start."""
    assert place.disk is not None
    disk, size = place.disk, max(LEAST, int(rng.random() * place.expected_bytes))
    resize(disk, size)
    return Fault(f"a disk of {size / 1e6:.2f} MB", felt=ended, repair=lambda: resize(disk, LARGE))


def read_only(place: Place, rng: random.Random) -> Fault:
    """Return a disk of the output that becomes read-only at a moment when no file is open for writing."""
    assert place.disk is not None
    disk = place.disk
    return Fault(
        "the disk of the output becomes read-only",
        disturb=lambda session: set_writable(disk, False),
        repair=lambda: _must(set_writable(disk, True)),
    )


def full_shared_memory(place: Place, rng: random.Random) -> Fault:
    """Return a /dev/shm that has room for no more than a few small batches."""
    more = int(10 ** rng.uniform(3.7, 6))
    return Fault(
        f"{more / 1e6:.2f} MB more in /dev/shm",
        disturb=lambda session: leave(SHM, more, LEAST),
        felt=ended,
        repair=lambda: resize(SHM, LARGE),
    )


def _must(done: bool) -> None:
    assert done, "the disk stays read-only"
