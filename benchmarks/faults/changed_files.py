"""Files that vanish, are cut, or change places with another while a command reads them."""

import os
import random
from pathlib import Path

from .kinds import Fault, Place


def missing(place: Place, rng: random.Random) -> Fault:
    """Return a file that vanishes, and comes back."""
    path, away = rng.choice(_files(place)), place.data.parent / "away"

    def disturb(session: int) -> bool:
        path.rename(away)
        return True

    def repair() -> None:
        if away.exists():
            away.rename(path)

    return Fault(f"{path.relative_to(place.data)} vanishes", disturb=disturb, repair=repair)


def cut(place: Place, rng: random.Random) -> Fault:
    """Return a file that is cut, and gets its bytes again."""
    path = rng.choice(_files(place))
    data, status = path.read_bytes(), path.stat()
    size = rng.randrange(len(data))

    def disturb(session: int) -> bool:
        os.truncate(path, size)
        return True

    def repair() -> None:
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    name = path.relative_to(place.data)
    return Fault(f"{name} is cut from {len(data)} to {size} bytes", disturb=disturb, repair=repair)


def swapped(place: Place, rng: random.Random) -> Fault:
    """Return two archives or shards that change places, and change back."""
    # Two images of class folders are not exchanged: a root stores no checksum of each.
    archives = [path for path in _files(place, anywhere=True) if ".tar" in path.suffixes]
    one, other = rng.sample(archives, 2)
    swaps: list[int] = []

    def swap(session: int) -> bool:
        away = place.data.parent / "away"
        one.rename(away)
        other.rename(one)
        away.rename(other)
        swaps.append(session)
        return True

    def repair() -> None:
        if swaps:
            swap(0)

    return Fault(f"{one.name} and {other.name} change places", disturb=swap, repair=repair)


def _files(place: Place, anywhere: bool = False) -> list[Path]:
    patterns = ("**/*",) if anywhere else place.reads
    found = {path for pattern in patterns for path in place.data.glob(pattern)}
    return sorted(path for path in found if path.is_file() and path.stat().st_size > 0)
