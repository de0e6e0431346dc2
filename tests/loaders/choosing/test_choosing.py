"""``LoaderSpec(indices, classes, weights, sampler, repeat)``: the contract holds for the samples that they choose."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feedline.loaders import Loader, most_workers, open_loader
from feedline.loaders.threaded import ThreadedLoader
from feedline.prep import LoaderError, read_shard_manifest, sample_order

from ..contract import open_named, require_loader, spec_of
from .choices import (
    CASES,
    CHOICES,
    ODD,
    PRIMES,
    SAMPLES,
    WEIGHTS,
    appearances,
    indexes_of,
    open_choice,
    rows_of,
)


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize(("name", "what"), CASES)
def test_the_chosen_come_over_all_ranks(
    name: str, what: str, world_size: int, root: Path, opened: list[Loader]
) -> None:
    """As often as they were chosen, with the manifest's labels, in batches that len counts; the next epoch differs."""
    seen: list[list[int]] = [[], []]
    for rank in range(world_size):
        loader = open_choice(name, what, root, opened, rank=rank, world_size=world_size, batch_size=4)
        for epoch in range(2):
            batches = list(loader)
            share = indexes_of(iter(batches))
            seen[epoch] += share
            assert len(share) == (loader.samples + world_size - 1 - rank) // world_size
            assert len(batches) == len(loader)
            assert all(batch.labels.tolist() == [index // 21 for index in batch.indexes.tolist()] for batch in batches)
    expected = CHOICES[what][1]
    assert expected is None or sorted(seen[0]) == sorted(seen[1]) == sorted(expected)
    assert len(seen[0]) == len(seen[1]) == loader.samples
    assert what == "a list as sampler" or seen[0] != seen[1]


@pytest.mark.parametrize(("name", "what"), CASES)
def test_a_choice_does_not_depend_on_workers_and_resumes(
    name: str, what: str, root: Path, opened: list[Loader]
) -> None:
    """Bit for bit; the state goes through JSON, and the epoch after the resumed one is as it would have been."""
    alone = open_choice(name, what, root, opened, batch_size=4)
    resumed = open_choice(name, what, root, opened, batch_size=4, workers=1)
    alone.set_epoch(1)
    batches, states = [], []
    for batch in alone:
        batches.append(batch)
        states.append(json.loads(json.dumps(alone.state_dict())))
    expected, following = rows_of(iter(batches)), indexes_of(alone)
    resumed.load_state_dict(states[1])
    found = rows_of(resumed)

    assert [index for index, _ in found] == [index for index, _ in expected[8:]]
    assert all(torch.equal(mine, other) for (_, mine), (_, other) in zip(found, expected[8:], strict=True))
    assert indexes_of(resumed) == following


@pytest.mark.parametrize(("name", "what"), CASES)
def test_drop_last_gives_every_rank_equally_many_batches(
    name: str, what: str, root: Path, opened: list[Loader]
) -> None:
    """Whole ones."""
    counts = set[int]()
    for rank in range(3):
        loader = open_choice(name, what, root, opened, rank=rank, world_size=3, batch_size=2, drop_last=True)
        batches = list(loader)
        assert all(len(batch.indexes) == 2 for batch in batches)
        counts |= {len(batches), len(loader)}
    assert len(counts) == 1 and counts.pop() > 0


@pytest.mark.parametrize("what", ["indices", "duplicates", "weights", "repeat", "RandomSampler"])
@pytest.mark.parametrize("loader", ["dali", "threaded"])
def test_ranks_and_batches_may_change_within_an_epoch(loader: str, what: str, root: Path, opened: list[Loader]) -> None:
    """Two ranks stop, three go on: together they yield the epoch of one rank, each appearance with its own pixels."""
    require_loader(loader)
    whole = rows_of(open_choice(loader, what, root, opened))
    before = [open_choice(loader, what, root, opened, rank=rank, world_size=2, batch_size=3) for rank in range(2)]
    parts = [rows_of(batch for _, batch in zip(range(2), loader, strict=False)) for loader in before]
    for rank in range(3):
        after = open_choice(loader, what, root, opened, rank=rank, world_size=3, batch_size=4)
        after.load_state_dict(before[1].state_dict())
        parts.append(rows_of(after))
    assert appearances(row for part in parts for row in part) == appearances(iter(whole))


def test_indices_keep_their_order_without_shuffling(in_any_order: str, root: Path, opened: list[Loader]) -> None:
    """Also among the classes that are chosen; and classes keep the order of the split."""
    for fields, expected in (
        ({"indices": torch.tensor(PRIMES)}, PRIMES),
        ({"indices": PRIMES * 2}, PRIMES * 2),
        ({"indices": PRIMES, "classes": (0,)}, [2, 3, 5, 7, 11, 13, 17, 19]),
        ({"classes": (3, 1)}, [*range(21, 42), *range(63, 84)]),
        ({"indices": range(10, 5, -1)}, [10, 9, 8, 7, 6]),
    ):
        opened.append(open_named(in_any_order, spec_of(root, shuffle=False, transform="eval", **fields)))
        assert indexes_of(opened[-1]) == indexes_of(opened[-1]) == expected


def test_webdataset_needs_only_the_shards_that_have_chosen_samples(root: Path, opened: list[Loader]) -> None:
    """A choice within two shards feeds two workers, and no more."""
    require_loader("webdataset")
    manifest = read_shard_manifest(root / "shards")
    ends = np.cumsum([shard.samples for shard in manifest.splits["train"].shards])[:-1]
    shards = np.split(sample_order(SAMPLES, manifest.order, manifest.seed), ends)
    spec = spec_of(root, indices=[*shards[0], *shards[4][:3]])

    assert most_workers("webdataset", spec_of(root)) == 6
    assert most_workers("webdataset", spec) == 2
    opened.append(open_loader("webdataset", replace(spec, workers=2)))
    assert sorted(indexes_of(opened[-1])) == sorted(spec.indices)  # type: ignore[arg-type]
    with pytest.raises(LoaderError, match="2 shards over 1 ranks feed at most 2 workers, got 3"):
        open_loader("webdataset", replace(spec, workers=3))


def test_cached_repeats_batches_of_the_choice(root: Path, tmp_path: Path, opened: list[Loader]) -> None:
    """Of a loader that can honour it: of shards alone that is not webdataset."""
    shutil.copytree(root / "shards", tmp_path / "data" / "shards")
    for place, fields in ((root, {"indices": [5, 6, 7]}), (tmp_path / "data", {"weights": [0] * 83 + [1]})):
        opened.append(open_loader("cached", spec_of(place, **fields)))
        assert set(indexes_of(opened[-1])) == ({5, 6, 7} if "indices" in fields else {83})


def test_threaded_chooses_within_windows_of_shards(root: Path, opened: list[Loader]) -> None:
    """Of a set of samples only."""
    opened.append(ThreadedLoader(spec_of(root, indices=PRIMES), window=2))
    assert sorted(indexes_of(opened[-1])) == sorted(PRIMES)
    assert indexes_of(opened[-1]) != indexes_of(opened[-1])
    with pytest.raises(LoaderError, match="only samples that come once each"):
        ThreadedLoader(spec_of(root, weights=WEIGHTS), window=2)


def test_keys_and_columns_follow_the_chosen(name: str, root: Path, opened: list[Loader]) -> None:
    """The view shows the split: ``loader.dataset[i]`` is the sample with index i, chosen or not."""
    opened.append(open_named(name, spec_of(root, indices=ODD)))
    loader = opened[-1]
    for batch in loader:
        assert batch.keys == [loader.dataset.key(index) for index in batch.indexes.tolist()]
    assert len(loader.dataset) == SAMPLES and len(loader) == 5
