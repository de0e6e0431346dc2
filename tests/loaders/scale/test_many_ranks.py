"""ImageNet's epoch over 1 to 64 ranks that know nothing of each other, also if their number changes in mid-epoch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from feedline.loaders import LoaderSpec
from feedline.loaders.sampling.chosen import Chosen
from feedline.loaders.support.streams import ranges_of, rounds, share_of, stream_count, stream_ranges

IMAGENET, SHARDS, BATCH = 1_281_167, 1_282, 256
EPOCH = 3
WORLDS = range(1, 65)


def rank_of(rank: int, world_size: int) -> LoaderSpec:
    return LoaderSpec(root=Path("data"), batch_size=BATCH, rank=rank, world_size=world_size, drop_last=False, seed=7)


@pytest.fixture(scope="module")
def keys() -> npt.NDArray[np.int64]:
    """The order that every rank computes by itself, as ``threaded``, ``dali`` and ``imagefolder`` do."""
    alone, one_of_many = (Chosen(spec, IMAGENET, list).keys(EPOCH) for spec in (rank_of(0, 1), rank_of(50, 64)))
    assert np.array_equal(alone, one_of_many)
    return alone


def chosen(spec: LoaderSpec) -> Chosen:
    return Chosen(spec, IMAGENET, list)


@pytest.mark.parametrize("world_size", WORLDS)
def test_each_sample_comes_once_though_the_number_of_ranks_changes_twice(
    world_size: int, keys: npt.NDArray[np.int64]
) -> None:
    """A third of the epoch by one number of ranks, a third by another, and the rest by a third number."""
    seen, done = np.zeros(IMAGENET, np.int64), 0
    for size in (world_size, 65 - world_size, 1 + world_size * 7 % 64):
        steps = IMAGENET // 3 // (size * BATCH) if size != 1 + world_size * 7 % 64 else None
        whole = [np.concatenate([*chosen(rank_of(rank, size)).share_of([keys[done:]], done)]) for rank in range(size)]
        shares = [share[: steps and steps * BATCH] for share in whole]
        lengths = {len(share) for share in shares}
        assert max(lengths) - min(lengths) <= (1 if steps is None else 0)
        for share in shares:
            seen[share] += 1
        done += sum(map(len, shares))
    assert done == IMAGENET and (seen == 1).all()


def places(spec: LoaderSpec, sizes: list[int], done: int) -> Iterator[range]:
    """The parts of the joined shards that a rank of ``webdataset`` reads after ``done`` samples of its own."""
    share = share_of(sum(sizes), spec)
    ranges = stream_ranges(share, stream_count(len(sizes), spec))
    for turns in rounds([len(part) for part in ranges], BATCH, done):
        for turn in turns:
            first = ranges[turn.stream].start
            yield range(first + turn.start, first + turn.stop)


@pytest.mark.parametrize("world_size", WORLDS)
def test_the_streams_of_all_ranks_read_each_sample_once(world_size: int) -> None:
    """Shards of uneven sizes; a resume after some batches reads the rest of the same share."""
    random = np.random.default_rng(world_size)
    sizes: list[int] = random.multinomial(IMAGENET, random.dirichlet(np.full(SHARDS, 50))).tolist()
    seen = np.zeros(IMAGENET, np.int64)
    for rank in range(world_size):
        spec = rank_of(rank, world_size)
        whole, later = list(places(spec, sizes, 0)), list(places(spec, sizes, 5 * BATCH))
        for part in whole:
            seen[part.start : part.stop] += 1
        assert sum(map(len, later)) == sum(map(len, whole)) - 5 * BATCH
    assert (seen == 1).all()


def test_ranges_of_shards_cover_the_share_of_every_rank() -> None:
    """In a shuffled order of shards, 64 ranks together read each sample of each shard once."""
    sizes = [1000] * (SHARDS - 1) + [IMAGENET - 1000 * (SHARDS - 1)]
    order = np.random.default_rng(0).permutation(SHARDS)
    seen = [np.zeros(size, np.int64) for size in sizes]
    for rank in range(64):
        for held in ranges_of(share_of(IMAGENET, rank_of(rank, 64)), sizes, order):
            seen[held.shard][held.start : held.stop] += 1
    assert all((counts == 1).all() for counts in seen)
