"""The order of runs: interleaved over the repeats, so that a drift of the machine affects all configurations alike."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def interleaved(items: Sequence[T], repeats: int) -> Iterator[tuple[int, T]]:
    """Yield (repeat, item): all items in order, then all in reverse order, and so on until ``repeats`` are done."""
    for repeat in range(repeats):
        for item in items if repeat % 2 == 0 else reversed(items):
            yield repeat, item
