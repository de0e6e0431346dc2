"""``LoaderSpec(indices, classes, weights, sampler, repeat)``: the contract holds for the samples that they choose."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, Sampler, WeightedRandomSampler

from feedline.loaders import LOADERS, Batch, Loader, most_workers, open_loader
from feedline.loaders.sampling import samplers
from feedline.loaders.threaded import ThreadedLoader
from feedline.prep import (
    LoaderError,
    ShardSpec,
    read_manifest,
    read_shard_manifest,
    sample_order,
    write_shards,
)

from .contract import COVERING, open_named, require_loader, spec_of

SAMPLES = 84
ODD = list(range(1, SAMPLES, 2))
PRIMES = [83, 2, 61, 3, 5, 7, 47, 11, 13, 79, 17, 19, 23, 29, 31, 37, 41, 43, 53, 59, 67, 71, 73]  # in no order
WEIGHTS = [index % 4 for index in range(SAMPLES)]  # a quarter has none
ANY_ORDER = [name for name in COVERING if name != "webdataset"]

Rows = list[tuple[int, torch.Tensor]]


@pytest.fixture(scope="module")
def root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same data set in six shards."""
    place = tmp_path_factory.mktemp("choosing") / "data"
    shutil.copytree(root, place, ignore=shutil.ignore_patterns("shards"))
    write_shards(place, ShardSpec(seed=3, shard_count=6))
    return place


@pytest.fixture(params=ANY_ORDER)
def in_any_order(request: pytest.FixtureRequest) -> str:
    """Every installed loader that can read samples in any order, and several times."""
    return require_loader(request.param)


@pytest.fixture(params=COVERING)
def name(request: pytest.FixtureRequest) -> str:
    """Every installed loader; another decoding chooses no other samples."""
    return require_loader(request.param)


class EpochSampler(Sampler[int]):
    """A sampler whose order depends on ``set_epoch``, as that of DistributedSampler does."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter([(index * 5 + self.epoch) % SAMPLES for index in range(33)])


# Each way to choose: the fields, and how often each sample comes in an epoch, if that is certain.
CHOICES: dict[str, tuple[dict[str, Any], list[int] | None]] = {
    "indices": ({"indices": PRIMES}, PRIMES),
    "a mask": ({"indices": np.isin(np.arange(SAMPLES), PRIMES)}, PRIMES),
    "classes": ({"classes": [1, 3]}, [*range(21, 42), *range(63, 84)]),
    "both": ({"classes": [0, 2], "indices": PRIMES}, [2, 3, 5, 7, 11, 13, 17, 19, 43, 47, 53, 59, 61]),
    "duplicates": ({"indices": PRIMES * 2}, PRIMES * 2),
    "weights": ({"weights": WEIGHTS}, None),
    "weighted classes": ({"weights": WEIGHTS, "classes": [1]}, None),
    "repeat": ({"repeat": 3}, None),
    "repeated weights": ({"repeat": 3, "weights": WEIGHTS, "indices": PRIMES}, None),
    "a list as sampler": ({"sampler": PRIMES * 2}, PRIMES * 2),
    "RandomSampler": ({"sampler": RandomSampler(range(SAMPLES))}, list(range(SAMPLES))),
    "WeightedRandomSampler": ({"sampler": WeightedRandomSampler(WEIGHTS, 50)}, None),
    "a sampler without length": ({"sampler": EpochSampler()}, None),
}
SETS = ("indices", "a mask", "classes", "both")
CASES = [(name, what) for name in COVERING for what in CHOICES if name != "webdataset" or what in SETS]


def rows_of(batches: Iterator[Batch] | Loader) -> Rows:
    return [row for batch in batches for row in zip(batch.indexes.tolist(), batch.images, strict=True)]


def indexes_of(batches: Iterator[Batch] | Loader) -> list[int]:
    return [index for batch in batches for index in batch.indexes.tolist()]


def open_choice(name: str, what: str, root: Path, opened: list[Loader], **changes: Any) -> Loader:
    opened.append(open_named(require_loader(name), spec_of(root, **CHOICES[what][0], **changes)))
    return opened[-1]


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


def appearances(rows: Iterator[tuple[int, torch.Tensor]]) -> Counter[tuple[int, bytes]]:
    """Count the different pixels of each sample."""
    return Counter((index, image.contiguous().numpy().tobytes()) for index, image in rows)


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


def test_a_chosen_sample_has_the_crops_that_it_has_in_the_whole_split(
    name: str, root: Path, opened: list[Loader]
) -> None:
    """So choosing changes nothing else; the first of its appearances too."""
    for fields in ({"classes": [1]}, {"repeat": 3}):
        if name == "webdataset" and "repeat" in fields:
            continue
        opened += [open_named(name, spec_of(root)), open_named(name, spec_of(root, **fields))]
        whole = dict(rows_of(opened[-2]))
        for index, image in reversed(rows_of(opened[-1])):
            whole[-1 - index] = image  # the first appearance stays
        assert all(torch.equal(whole[index], whole[-1 - index]) for index in range(SAMPLES) if -1 - index in whole)


@pytest.mark.parametrize("fields", [{"indices": [7] * 4}, {"sampler": [7] * 4}, {"repeat": 4, "indices": [7, 7, 7, 7]}])
def test_each_appearance_of_a_sample_has_a_crop_of_its_own(
    in_any_order: str, fields: dict[str, Any], root: Path, opened: list[Loader]
) -> None:
    """In one batch and over ranks."""
    seen = Counter[tuple[int, bytes]]()
    for rank in range(2):
        opened.append(open_named(in_any_order, spec_of(root, rank=rank, world_size=2, **fields)))
        seen += appearances(iter(rows_of(opened[-1])))
    assert len(seen) == 4 and {index for index, _ in seen} == {7}


def with_noise(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return image.float() + torch.rand(image.shape, generator=generator)


def test_each_appearance_of_a_sample_has_a_sample_transform_of_its_own(
    in_any_order: str, root: Path, opened: list[Loader]
) -> None:
    """Its generator is seeded by the appearance, also if nothing is cropped; the first is that of the sample alone."""
    fields = {"transform": "eval", "shuffle": False, "sample_transform": with_noise}
    opened += [open_named(in_any_order, spec_of(root, indices=indices, **fields)) for indices in ([7] * 4, [7])]
    found, alone = rows_of(opened[0]), rows_of(opened[1])
    assert len(appearances(iter(found))) == 4
    assert torch.equal(found[0][1], alone[0][1])


def test_repeated_samples_are_spread_over_epochs_and_ranks(root: Path, opened: list[Loader]) -> None:
    """Three epochs together have each sample three times; the copies of one go to different ranks."""
    seen = [list[list[int]]() for _ in range(3)]
    for rank in range(3):
        opened.append(open_loader("threaded", spec_of(root, repeat=3, rank=rank, world_size=3)))
        for epoch in range(3):
            seen[epoch].append(indexes_of(opened[-1]))
    assert all(ranks[0] == ranks[1] == ranks[2] for ranks in seen)  # 84 is a multiple of 3
    assert all(len(set(ranks[0])) == len(ranks[0]) == 28 for ranks in seen)
    assert sorted(index for ranks in seen for index in ranks[0]) == list(range(SAMPLES))


def test_weighted_samples_come_as_often_as_they_should(root: Path, opened: list[Loader]) -> None:
    """Never without weight, and by chi-square over 20 epochs of a fixed seed in proportion to it."""
    opened.append(open_loader("threaded", spec_of(root, weights=WEIGHTS, image_size=8)))
    seen = Counter(index for _ in range(20) for index in indexes_of(opened[-1]))
    expected = {index: 20 * SAMPLES * weight / sum(WEIGHTS) for index, weight in enumerate(WEIGHTS) if weight}

    assert set(seen) <= set(expected) and sum(seen.values()) == 20 * SAMPLES
    assert 35 < sum((seen[index] - mean) ** 2 / mean for index, mean in expected.items()) < 96  # 62 degrees: 0.5 %


def test_webdataset_refuses_what_it_cannot_read_in_the_order_of_the_shards(root: Path) -> None:
    """With the loaders that can."""
    require_loader("webdataset")
    able = "choose one of: imagefolder, dali, threaded, cached"
    for fields, what in (
        ({"weights": WEIGHTS}, "weights"),
        ({"sampler": PRIMES}, "sampler"),
        ({"repeat": 2}, "repeat"),
        ({"indices": [1, 1]}, "indices in an order of their own"),
        ({"indices": [2, 1], "shuffle": False}, "indices in an order of their own"),
        ({"repeat": 2, "weights": WEIGHTS}, "weights and repeat"),
    ):
        with pytest.raises(LoaderError, match=f"webdataset cannot do {what}; {able}"):
            open_loader("webdataset", spec_of(root, **fields))


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


@pytest.mark.parametrize(
    ("saved", "loaded"),
    [
        ({}, {"indices": PRIMES}),
        ({"indices": PRIMES}, {}),
        ({"indices": PRIMES}, {"indices": PRIMES[:-1]}),
        ({"indices": PRIMES}, {"indices": sorted(PRIMES)}),
        ({"classes": [0]}, {"classes": [1]}),
        ({"weights": WEIGHTS}, {"weights": WEIGHTS[::-1]}),
        ({"repeat": 2}, {"repeat": 3}),
        ({"sampler": PRIMES}, {"sampler": ODD}),
        ({"sampler": RandomSampler(range(SAMPLES))}, {}),
    ],
)
def test_the_state_of_another_choice_is_refused(
    saved: dict[str, Any], loaded: dict[str, Any], root: Path, opened: list[Loader]
) -> None:
    """Its position would mean other samples."""
    opened += [open_loader("threaded", spec_of(root, **fields)) for fields in (saved, loaded)]
    next(iter(opened[0]))
    with pytest.raises(LoaderError, match="chose other samples; open the loader with the same indices, classes"):
        opened[1].load_state_dict(opened[0].state_dict())


def test_the_same_choice_in_other_words_is_resumed(root: Path, opened: list[Loader]) -> None:
    """A choice is its samples: ids or indexes, a mask or a list; all samples are no choice."""
    ids = [entry.id for entry in read_manifest(root).classes]
    for saved, loaded in (
        ({"classes": [1]}, {"indices": list(range(21, 42))}),
        ({"classes": ids[2:0:-1]}, {"classes": np.array([1, 2])}),
        ({"indices": np.ones(SAMPLES, bool)}, {}),
    ):
        opened += [open_loader("threaded", spec_of(root, **fields)) for fields in (saved, loaded)]
        next(iter(opened[-2]))
        opened[-1].load_state_dict(opened[-2].state_dict())
        assert indexes_of(opened[-2]) != indexes_of(opened[-1])  # the next epoch, and the rest of this one


def test_a_distributed_sampler_yields_the_share_of_its_rank(
    in_any_order: str, root: Path, opened: list[Loader]
) -> None:
    """Its epoch is set; the samples that it repeats on other ranks have crops of their own."""
    seen = Counter[tuple[int, bytes]]()
    for rank in range(2):
        sampler = DistributedSampler(range(5), num_replicas=2, rank=rank)  # type: ignore[arg-type]
        spec = spec_of(root, sampler=sampler, rank=rank, world_size=2, batch_size=2)
        opened.append(open_named(in_any_order, spec))
        opened[-1].set_epoch(3)
        rows = rows_of(opened[-1])
        sampler.set_epoch(3)
        assert [index for index, _ in rows] == list(sampler)
        assert len(opened[-1]) == 2
        seen += appearances(iter(rows))
    assert sum(seen.values()) == len(seen) == 6 and {index for index, _ in seen} == set(range(5))


def test_a_distributed_sampler_of_other_ranks_is_refused(root: Path, opened: list[Loader]) -> None:
    """When the loader opens, and when a state of another world size is loaded."""
    of_three = DistributedSampler(range(SAMPLES), num_replicas=3, rank=1)  # type: ignore[arg-type]
    with pytest.raises(LoaderError, match="share of rank 1 of 3, and the loader is rank 0 of 2; make both"):
        open_loader("threaded", spec_of(root, sampler=of_three, rank=0, world_size=2))
    of_two = DistributedSampler(range(SAMPLES), num_replicas=2, rank=1)  # type: ignore[arg-type]
    opened.append(open_loader("threaded", spec_of(root, sampler=of_two, rank=1, world_size=2)))
    opened.append(open_loader("threaded", spec_of(root, sampler=of_three, rank=1, world_size=3)))
    with pytest.raises(LoaderError, match="the state has world_size 2, the sampler has 3 ranks"):
        opened[1].load_state_dict(opened[0].state_dict())


def test_a_sampler_draws_the_same_everywhere_and_moves_no_generator(root: Path, opened: list[Loader]) -> None:
    """torch's samplers take their seed from the global generator, which the loop may have moved."""

    class Mixed(Sampler[int]):
        def __len__(self) -> int:
            return 9

        def __iter__(self) -> Iterator[int]:
            for _ in range(3):
                yield int(torch.randint(SAMPLES, ()))
                yield int(np.random.randint(SAMPLES))
                yield random.randrange(SAMPLES)

    found: list[list[int]] = []
    for seed in range(2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index, union-attr]
        opened.append(open_loader("threaded", spec_of(root, sampler=Mixed())))
        found.append(indexes_of(opened[-1]))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]  # type: ignore[index, union-attr]
    assert found[0] == found[1] and len(set(found[0])) > 3


def test_a_sampler_with_a_generator_of_its_own_is_not_resumed_in_mid_epoch(root: Path, opened: list[Loader]) -> None:
    """It would yield another order; between two epochs, nothing is lost."""
    for _ in range(2):
        sampler = RandomSampler(range(SAMPLES), generator=torch.Generator().manual_seed(len(opened)))
        opened.append(open_loader("threaded", spec_of(root, sampler=sampler)))
    next(iter(opened[0]))
    with pytest.raises(LoaderError, match=r"within epoch 0: the sampler yields another order.*set_epoch\(1\)"):
        opened[1].load_state_dict(opened[0].state_dict())
    indexes_of(opened[0])
    opened[1].load_state_dict(opened[0].state_dict())
    assert sorted(indexes_of(opened[1])) == list(range(SAMPLES))


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (BatchSampler(range(8), 4, drop_last=False), r"BatchSampler yields batches, such as \[0, 1, 2, 3\]"),
        ([0, 84], "sampler yields 84, and train of .* has 84 samples; use indexes from 0 to 83"),
        (WeightedRandomSampler([1.0] * 500, 500), "WeightedRandomSampler yields 4.*use indexes from 0 to 83"),
        ({"a": 1}, "the sampler dict must yield the indexes of samples, got 'a'"),
    ],
)
def test_a_sampler_of_something_else_is_refused(sampler: Any, message: str, root: Path, opened: list[Loader]) -> None:
    """At the latest when its first batch is loaded."""
    with pytest.raises(LoaderError, match=message):
        opened.append(open_loader("threaded", spec_of(root, sampler=sampler)))
        next(iter(opened[-1]))


def test_a_sampler_of_changing_length_is_refused(
    root: Path, opened: list[Loader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The length of a loader would be wrong; without an end there is none."""

    class Growing(EpochSampler):
        def __iter__(self) -> Iterator[int]:
            return iter(range(10 + self.epoch))

    opened.append(open_loader("threaded", spec_of(root, sampler=Growing())))
    assert indexes_of(opened[-1]) == list(range(10))
    with pytest.raises(LoaderError, match="Growing yields more than 10 indexes in epoch 1, and its length was 10"):
        next(iter(opened[-1]))
    monkeypatch.setattr(samplers, "ENDLESS", 30)
    with pytest.raises(LoaderError, match="EpochSampler has no length and yields more than 30 indexes"):
        open_loader("threaded", spec_of(root, sampler=EpochSampler()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"indices": [5, 84]}, "indices has 84, and train of .* has 84 samples; use indexes from 0 to 83"),
        ({"indices": [True] * 83}, "a mask of 83, and train of .* has 84 samples; give one True or False per sample"),
        ({"weights": [1.0] * 85}, "weights has 85 numbers, and train of .* has 84 samples; give one weight per sample"),
        ({"weights": WEIGHTS, "indices": [0, 4]}, "weights of all chosen samples are 0; give one of them"),
        ({"classes": [4]}, "has no class 4; its class indexes are 0 to 3"),
        ({"classes": ["3"]}, "has no class '3'; class indexes are given as integers: 3"),
        ({"classes": ["0"], "indices": [83]}, "has no class '0'"),
        ({"classes": [0], "indices": [83]}, "the indices have no sample of the classes 0; choose others"),
    ],
)
def test_a_choice_that_the_split_does_not_have_is_refused(
    name: str, fields: dict[str, Any], message: str, root: Path
) -> None:
    """With what the split has."""
    refused = name == "webdataset" and "weights" in fields
    with pytest.raises(LoaderError, match="webdataset cannot do weights" if refused else message):
        open_named(name, spec_of(root, **fields))


def test_an_unknown_class_is_refused_with_the_nearest(root: Path) -> None:
    """By its id, or by its name, which is no id."""
    entry = read_manifest(root).classes[2]
    for wrong in (entry.id[:-1] + "x", entry.id.upper(), entry.name):
        with pytest.raises(LoaderError, match=f"has no class '{wrong}'; did you mean .*'{entry.id}'"):
            open_loader("threaded", spec_of(root, classes=(wrong,)))
    with pytest.raises(LoaderError, match="has no class 'zebra crossing'; choose from: 'n0"):
        open_loader("threaded", spec_of(root, classes=("zebra crossing",)))


def test_keys_and_columns_follow_the_chosen(name: str, root: Path, opened: list[Loader]) -> None:
    """The view shows the split: ``loader.dataset[i]`` is the sample with index i, chosen or not."""
    opened.append(open_named(name, spec_of(root, indices=ODD)))
    loader = opened[-1]
    for batch in loader:
        assert batch.keys == [loader.dataset.key(index) for index in batch.indexes.tolist()]
    assert len(loader.dataset) == SAMPLES and len(loader) == 5


def test_too_few_samples_for_a_batch_are_reported(
    name: str, root: Path, opened: list[Loader], caplog: pytest.LogCaptureFixture
) -> None:
    """A loop over whole batches would do nothing, without a word."""
    for drop_last, batches in ((False, 1), (True, 0)):
        opened.append(open_named(name, spec_of(root, indices=[3, 4], drop_last=drop_last)))
        assert len(list(opened[-1])) == len(opened[-1]) == batches
        assert ("2 samples over 1 ranks make no whole batch of 10" in caplog.text) == drop_last


def test_class_balanced_weights(root: Path, opened: list[Loader]) -> None:
    """As the documentation shows them: of three classes of 21, 7 and 1 samples, each comes a third of the time."""
    opened.append(open_loader("threaded", spec_of(root)))
    labels = opened[-1].dataset.labels
    assert labels.dtype == np.int64 and labels.tolist() == [index // 21 for index in range(SAMPLES)]
    indices = [*range(21), *range(21, 28), 63]
    counts = np.bincount(labels[indices], minlength=4)
    weights = 1 / np.maximum(counts, 1)[labels]
    opened.append(open_loader("threaded", spec_of(root, indices=indices, weights=weights, image_size=8)))
    seen = Counter(label for _ in range(20) for batch in opened[-1] for label in batch.labels.tolist())
    assert sum(seen.values()) == 20 * 29
    assert all(150 < seen[label] < 237 for label in (0, 1, 3))  # 193 each, within 4 standard deviations


def test_every_loader_says_what_it_cannot_choose() -> None:
    """Only webdataset reads in an order of its own."""
    assert {name for name, entry in LOADERS.items() if "weights" not in entry.abilities} == {"webdataset"}
