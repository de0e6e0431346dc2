"""Orders and shares for any number of samples, ranks and batches: each appearance exactly once."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from feedline.loaders import LoaderSpec
from feedline.loaders.sampling.chosen import Chosen
from feedline.loaders.sampling.draw_keys import I64, draw_keys, index_of, indexes_of


@st.composite
def choices(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """A number of samples, and fields that choose from them."""
    count = draw(st.integers(1, 60))
    indexes = st.lists(st.integers(0, count - 1), min_size=1, max_size=80)
    if draw(st.booleans()):
        return count, draw(st.fixed_dictionaries({"sampler": indexes}))
    weights = st.lists(st.integers(1, 5), min_size=count, max_size=count)
    return count, draw(
        st.fixed_dictionaries({}, optional={"indices": indexes, "weights": weights, "repeat": st.integers(1, 7)})
    )


def chosen_of(count: int, spec: LoaderSpec) -> Chosen:
    return Chosen(spec, count, lambda: np.zeros(count, np.int64))


def whole(blocks: Iterable[I64]) -> I64:
    return np.concatenate([np.empty(0, np.int64), *blocks])


@settings(max_examples=60)
@given(choices(), st.integers(1, 5), st.integers(1, 9), st.booleans(), st.integers(0, 9), st.integers(1, 5), st.data())
def test_every_appearance_is_yielded_once_also_if_ranks_change(
    choice: tuple[int, dict[str, Any]],
    world_size: int,
    batch_size: int,
    drop_last: bool,
    epoch: int,
    later: int,
    data: st.DataObject,
) -> None:
    """The shares are the epoch, as long as promised; after a stop, other ranks have the rest."""
    count, fields = choice
    spec = LoaderSpec(
        root=Path("data"), rank=0, world_size=world_size, batch_size=batch_size, drop_last=drop_last, **fields
    )
    chosen = chosen_of(count, spec)
    keys = chosen.keys(epoch)
    assert len(keys) == len(chosen) == len(set(keys.tolist()))
    assert np.array_equal(keys, chosen_of(count, spec).keys(epoch))

    steps = data.draw(st.integers(0, chosen.batches(0)))
    done = min(steps * batch_size * world_size, len(chosen))
    seen, lengths = list[int](), list[int]()
    for rank in range(world_size):
        mine = chosen_of(count, replace(spec, rank=rank))
        share = whole(mine.share(epoch, 0))
        assert len(share) == mine.share_length(0) and mine.batches(0) == -(-len(share) // batch_size)
        seen += share[: steps * batch_size].tolist()
        lengths.append(len(share))
    assert max(lengths) - min(lengths) <= (0 if drop_last else 1)
    assert not drop_last or lengths[0] == len(keys) // world_size // batch_size * batch_size
    for rank in range(later):
        mine = chosen_of(count, replace(spec, rank=rank, world_size=later, drop_last=False))
        seen += whole(mine.share(epoch, done)).tolist()
    assert sorted(seen) == sorted(keys.tolist())


@given(choices(), st.integers(0, 20))
def test_an_epoch_has_the_samples_of_its_choice(choice: tuple[int, dict[str, Any]], cycle: int) -> None:
    """Repeated samples come equally often over their epochs, each after the one before."""
    count, fields = choice
    repeat = fields.get("repeat", 1)
    chosen = chosen_of(count, LoaderSpec(root=Path("data"), rank=0, world_size=1, **fields))
    epochs = [indexes_of(chosen.keys(cycle * repeat + part)) for part in range(repeat)]
    entries = fields.get("sampler") or fields.get("indices") or range(count)
    assert all(len(epoch) == len(entries) for epoch in epochs)
    joined = np.concatenate(epochs)
    assert (joined.reshape(-1, repeat) == joined[::repeat, None]).all()
    if "weights" in fields:
        assert set(joined.tolist()) <= set(entries)
    else:
        assert Counter(joined.tolist()) == Counter(list(entries) * repeat)


@given(st.lists(st.integers(0, 2**40 - 1) | st.integers(0, 3), max_size=60), st.integers(1, 4))
def test_draw_keys_hold_the_index_and_never_repeat(indexes: list[int], world_size: int) -> None:
    """The first appearance of rank 0 is the index itself."""
    array = np.array(indexes, np.int64)
    ranks = [draw_keys(array, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert all(np.array_equal(indexes_of(keys), array) for keys in ranks)
    assert [index_of(key) for key in ranks[0].tolist()] == indexes
    joined = np.concatenate(ranks).tolist()
    assert len(set(joined)) == len(joined)
    assert all(ranks[0][indexes.index(index)] == index for index in set(indexes))


def test_weighted_draws_fit_their_weights() -> None:
    """By chi-square: counts over epochs, the same and the next draw of an epoch, which are independent."""
    weights = np.array([0, 1, 2, 3, 0, 4, 1e-9, 0.5, 0])
    spec = LoaderSpec(root=Path("data"), rank=0, world_size=1, weights=weights)
    drawn = np.concatenate([chosen_of(9, spec).keys(epoch) for epoch in range(4_000)])
    indexes = indexes_of(drawn)
    shares = weights[weights > 1e-6] / weights.sum()
    kinds = np.flatnonzero(weights > 1e-6)

    assert set(indexes.tolist()) <= set(kinds.tolist())
    assert chi_square([np.sum(indexes == kind) for kind in kinds], shares) < 18.5  # 4 degrees, 0.1 %
    pairs = [np.sum((indexes[:-1] == a) & (indexes[1:] == b)) for a in kinds for b in kinds]
    assert chi_square(pairs, np.outer(shares, shares).ravel()) < 51.2  # 24 degrees, 0.1 %


def chi_square(counts: list[Any], shares: Any) -> float:
    expected = np.sum(counts) * np.asarray(shares)
    return float(((np.array(counts) - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("weights", [[1e308, 1e308, 0], [5e-324, 5e-324, 0], [0, 0, 1], [1, 1e-300, 0]])
def test_weights_of_any_size_can_be_drawn(weights: list[float]) -> None:
    """Neither too large to be summed, nor too small."""
    spec = LoaderSpec(root=Path("data"), rank=0, world_size=1, weights=weights)
    drawn = {index for epoch in range(30) for index in indexes_of(chosen_of(3, spec).keys(epoch)).tolist()}
    assert drawn == {index for index, weight in enumerate(weights) if weight > max(weights) / 1e9}


def test_a_weight_and_its_sample_are_drawn_apart() -> None:
    """The draws of the order are not those of the crops: equal seeds do not make areas follow places."""
    from feedline.loaders.pixels.crops import draw_crops

    spec = LoaderSpec(root=Path("data"), rank=0, world_size=1, weights=[1.0] * 5_000)
    places = indexes_of(chosen_of(5_000, spec).keys(0)) / 5_000
    areas = draw_crops(np.arange(5_000), seed=0, epoch=0)[:, 0]
    assert abs(np.corrcoef(places, areas)[0, 1]) < 0.06


def test_uneven_sampler_shares_of_ranks() -> None:
    """A sampler that yields one rank's share has its length, whatever the number of ranks."""

    class Mine:
        num_replicas, rank = 3, 2

        def __len__(self) -> int:
            return 7

        def __iter__(self) -> Any:
            return iter([4, 4, 4, 1, 2, 3, 0])

    spec = LoaderSpec(root=Path("data"), rank=2, world_size=3, batch_size=2, sampler=Mine())  # type: ignore[arg-type]
    chosen = chosen_of(5, spec)
    assert indexes_of(whole(chosen.share(0, 0))).tolist() == [4, 4, 4, 1, 2, 3, 0]
    assert indexes_of(whole(chosen.share(0, 2 * 3 * 2))).tolist() == [2, 3, 0] and chosen.batches(12) == 2
    assert len(whole(chosen_of(5, replace(spec, drop_last=True)).share(0, 0))) == 6
    assert len(set(whole(chosen.share(0, 0)).tolist())) == 7
