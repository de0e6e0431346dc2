"""Streams: the parts of one rank's share of the shards, which workers read at the same time.

A loader that gives whole shards to its workers changes its order with the number of workers, and its ranks get uneven
shares. This module joins the shards end to end in the epoch's order and cuts them into equal ranges. First it cuts one
range per rank, then one per stream. The number of streams does not depend on the number of workers. A range may begin
or end inside a shard; both neighbours then read that shard, each its own part. The epoch's order takes one batch of
each stream in turn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..spec import LoaderSpec

# More streams shuffle better and allow more workers per rank, but each has a shuffle buffer.
STREAMS = 16


@dataclass(frozen=True)
class ShardRange:
    """Samples ``start`` to ``stop`` - 1 of one shard, both counted in that shard."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True)
class Turn:
    """One stream's part of one round: its samples ``start`` to ``stop`` - 1, counted in the stream."""

    stream: int
    start: int
    stop: int


def share_of(samples: int, spec: LoaderSpec) -> range:
    """Return this rank's contiguous range of ``samples``.

    As in the other loaders, the first ranks have the samples that are left over, one each.
    """
    share, over = divmod(samples, spec.world_size)
    first = spec.rank * share + min(spec.rank, over)
    if spec.drop_last:
        return range(first, first + share // spec.batch_size * spec.batch_size)
    return range(first, first + share + (spec.rank < over))


def stream_count(shards: int, spec: LoaderSpec) -> int:
    """Return the number of streams of a rank: one per shard of its share, at least 1 and at most 16."""
    return max(1, min(STREAMS, shards // spec.world_size))


def stream_ranges(share: range, streams: int) -> list[range]:
    """Cut a share into ``streams`` ranges whose sizes differ by one sample at most."""
    cuts = [share.start + k * len(share) // streams for k in range(streams + 1)]
    return [range(cuts[k], cuts[k + 1]) for k in range(streams)]


def ranges_of(places: range, sizes: Sequence[int], order: npt.NDArray[np.int64]) -> list[ShardRange]:
    """Return the parts of shards that cover ``places`` if the shards are joined end to end in ``order``.

    ``sizes`` are the samples of each shard; ``order`` is int64 (shards,).
    """
    found: list[ShardRange] = []
    first = 0
    for shard in order.tolist():
        start, stop = max(places.start - first, 0), min(places.stop - first, sizes[shard])
        if start < stop:
            found.append(ShardRange(shard, start, stop))
        first += sizes[shard]
    return found


def rounds(lengths: Sequence[int], batch_size: int, skip: int) -> Iterator[list[Turn]]:
    """Yield the rounds of an epoch, each with one turn of up to ``batch_size`` samples per stream.

    ``lengths`` are the numbers of samples of each stream, and ``skip`` is the number of samples already yielded. A turn
    that is over has ``start`` == ``stop``, so every round has one turn per stream.
    """
    for begin in range(0, max(lengths, default=0), batch_size):
        turns: list[Turn] = []
        for stream, length in enumerate(lengths):
            start, stop = min(begin, length), min(begin + batch_size, length)
            skipped = min(skip, stop - start)
            skip -= skipped
            turns.append(Turn(stream, start + skipped, stop))
        if any(turn.start < turn.stop for turn in turns):
            yield turns
