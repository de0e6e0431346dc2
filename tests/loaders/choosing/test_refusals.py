"""Choices that a loader, a split or a saved state does not have are refused, with what they do have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import RandomSampler

from feedline.loaders import LOADERS, Loader, open_loader
from feedline.prep import LoaderError, read_manifest

from ..contract import open_named, require_loader, spec_of
from .choices import ODD, PRIMES, SAMPLES, WEIGHTS, indexes_of


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


def test_too_few_samples_for_a_batch_are_reported(
    name: str, root: Path, opened: list[Loader], caplog: pytest.LogCaptureFixture
) -> None:
    """A loop over whole batches would do nothing, without a word."""
    for drop_last, batches in ((False, 1), (True, 0)):
        opened.append(open_named(name, spec_of(root, indices=[3, 4], drop_last=drop_last)))
        assert len(list(opened[-1])) == len(opened[-1]) == batches
        assert ("2 samples over 1 rank make no whole batch of 10" in caplog.text) == drop_last


def test_every_loader_says_what_it_cannot_choose() -> None:
    """Only webdataset reads in an order of its own."""
    assert {name for name, entry in LOADERS.items() if "weights" not in entry.abilities} == {"webdataset"}
