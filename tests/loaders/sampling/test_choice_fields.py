"""The fields of a spec that choose samples: what they refuse, and that a spec with them stays a value."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic_core import PydanticSerializationError
from torch.utils.data import RandomSampler

from feedline.loaders import LoaderSpec
from feedline.prep import LoaderError, read_document, write_document

from ..contract import spec_of

PRIMES = [83, 2, 61, 3, 5, 7, 47]  # in no order
WEIGHTS = [index % 4 for index in range(84)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"indices": []}, "indices chooses no sample; leave indices out to take all"),
        ({"indices": [False] * 84}, "indices chooses no sample"),
        ({"indices": [1.0]}, r"indices must be the indexes of samples.*got float64: 1\.0"),
        ({"indices": [-1]}, "indices must be at least 0, got -1"),
        ({"indices": [[1, 2]]}, "indices must have one dimension, got 2 dimensions"),
        ({"indices": [[1], [2, 3]]}, "indices must be a sequence"),
        ({"indices": 5}, "indices must be a sequence of .*, got 5"),
        ({"indices": "12"}, "indices must be a sequence of .*, got '12'"),
        ({"indices": {1, 2}}, "indices must be a sequence of .*, got a set"),
        ({"indices": [2**70]}, "indices must be the indexes of samples"),
        ({"indices": [2**63]}, "indices has 9223372036854775808, which no split has"),
        ({"indices": ["3"]}, "indices must be the indexes of samples"),
        ({"classes": []}, "classes chooses no class; leave classes out to take all"),
        ({"classes": "n01440764"}, r"write classes=\('n01440764',\)"),
        ({"classes": 3}, r"write classes=\(3,\)"),
        ({"classes": [-1]}, "each of classes must be at least 0, got -1"),
        ({"classes": [True]}, "each of classes must be an integer, got True"),
        ({"classes": [""]}, "each of classes must be an integer, got ''"),
        ({"classes": [None]}, "each of classes must be an integer, got None"),
        ({"classes": np.array([1.5])}, r"each of classes must be an integer, got 1\.5"),
        ({"weights": []}, "weights is empty; give one number per sample"),
        ({"weights": [0, 0]}, "weights are all 0, so no sample can be drawn"),
        ({"weights": [1, float("nan")]}, "weights must be finite and at least 0, got nan for sample 1"),
        ({"weights": [1, float("inf")]}, "weights must be finite and at least 0, got inf for sample 1"),
        ({"weights": [1, -0.5]}, r"weights must be finite and at least 0, got -0\.5 for sample 1"),
        ({"weights": ["1"]}, "weights must be one number per sample of the split"),
        ({"weights": [True]}, "weights must be one number per sample of the split"),
        ({"weights": 1.0}, r"weights must be a sequence of .*, got 1\.0"),
        ({"weights": [1], "shuffle": False}, "with weights, samples come in random order; use shuffle=True"),
        ({"sampler": iter([1])}, "sampler must be iterable in every epoch.*pass a torch.utils.data.Sampler"),
        ({"sampler": 3}, "sampler must be a sampler of torch"),
        ({"sampler": [True]}, "pass a mask as indices"),
        ({"sampler": [1], "indices": [1], "repeat": 2}, "leave out either sampler or indices and repeat"),
        ({"repeat": 0}, "repeat must be at least 1, got 0"),
        ({"repeat": 1.5}, r"repeat must be an integer, got 1\.5"),
        ({"repeat": 2, "shuffle": False}, "with repeat, samples come in random order"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    """When the spec is made."""
    with pytest.raises(LoaderError, match=message):
        LoaderSpec(root=Path("data"), **fields)


def test_a_spec_with_a_choice_is_a_value(root: Path) -> None:
    """It is compared, hashed, pickled and replaced; the caller's array can change, and its repr stays short."""
    indices, weights = np.arange(1_000, dtype=np.int32), torch.ones(84)
    fields = {"classes": ("a", 3), "weights": weights}
    spec = spec_of(root, indices=indices, **fields)
    indices[0], weights[0] = 5, 7.0

    assert spec == spec_of(root, indices=list(range(1_000)), **{**fields, "weights": [1] * 84})
    assert spec == replace(spec, weights=torch.ones(84, dtype=torch.bfloat16, requires_grad=True))
    assert spec != spec_of(root, indices=indices, **fields) and spec != replace(spec, weights=None)
    assert hash(spec) == hash(replace(spec, batch_size=10)) and pickle.loads(pickle.dumps(spec)) == spec
    assert "indices=<1000: 0, 1, 2, ...>" in repr(spec) and len(repr(spec)) < 800
    assert spec.indices is not None and list(spec.indices[:3]) == [0, 1, 2] and spec.indices[-1] == 999
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(spec.indices)[0] = 1
    assert spec_of(root, indices=[True, False]) != spec_of(root, indices=[1, 0])


def test_a_spec_with_a_choice_is_part_of_a_document(root: Path, tmp_path: Path) -> None:
    """Records hold the spec that they measured; a sampler is code, which no document can hold."""
    for fields in (
        {},
        {"indices": PRIMES, "classes": ("a", 3), "weights": WEIGHTS, "repeat": 2},
        {"indices": [True, False]},
        {"sampler": [3, 4]},
    ):
        spec = spec_of(root, **fields)
        write_document(tmp_path / "spec.json", spec)
        assert read_document(tmp_path / "spec.json", LoaderSpec) == spec
    with pytest.raises(PydanticSerializationError, match=r"RandomSampler.* cannot be written to a document; give its"):
        write_document(tmp_path / "spec.json", spec_of(root, sampler=RandomSampler(range(4))))
