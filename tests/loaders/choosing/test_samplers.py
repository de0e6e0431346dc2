"""``LoaderSpec(sampler)``: torch's samplers and any others give the order for all ranks, and are resumed or refused."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, Sampler, WeightedRandomSampler

from feedline.loaders import Loader, open_loader
from feedline.loaders.sampling import samplers
from feedline.prep import LoaderError

from ..contract import open_named, spec_of
from .choices import SAMPLES, EpochSampler, appearances, indexes_of, rows_of


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
