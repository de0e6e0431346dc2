"""Paths as text and settings of other types, as a script gives them: taken or refused before anything is written."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedline.prep import (
    FeedlineError,
    ShardSpec,
    SyntheticSpec,
    prepare_imagefolder,
    prepare_tiny_imagenet,
    prepare_webdataset,
    read_manifest,
    read_shard_manifest,
    verify,
    write_shards,
    write_synthetic,
)


def test_every_step_takes_paths_as_text(tmp_path: Path) -> None:
    """And one source without a list around it."""
    place = str(tmp_path)
    (archive,) = write_synthetic(place + "/in", SyntheticSpec(layout="tiny-imagenet", classes=2, images_per_class=3))
    tiny = prepare_tiny_imagenet(str(archive), place + "/data")
    assert read_manifest(place + "/data") == tiny
    shards = write_shards(place + "/data", ShardSpec(shard_count=1))
    assert read_shard_manifest(place + "/data/shards") == shards
    assert verify(place + "/data").problems == ()

    shutil.copytree(tmp_path / "data" / "train", tmp_path / "photos")
    assert prepare_imagefolder(place + "/photos", place + "/own").splits["train"].images == 6
    foreign = prepare_webdataset(place + "/data/shards/*-train-*.tar", place + "/theirs")
    assert foreign.splits["train"].samples == 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": 1.5}, "seed must be an integer, got 1.5"),
        ({"seed": "3"}, "seed must be an integer, got '3'"),
        ({"shard_count": 1.5}, "shard_count must be an integer, got 1.5"),
        ({"short_side": "8"}, "short_side must be an integer, got '8'"),
        ({"quality": True}, "quality must be an integer, got True"),
        ({"encode": "tiles"}, "encode must be 'copy', 'restart', 'resize' or 'raw', got 'tiles'"),
        ({"order": 5}, "order must be 'shuffled', 'sequential' or 'two-level', got 5"),
        ({"metadata": "no"}, "metadata must be a boolean, got 'no'"),
    ],
)
def test_shards_whose_manifest_nobody_could_read_are_not_begun(wrong: dict[str, Any], message: str) -> None:
    """Some were written to the end, and then refused by each reader."""
    with pytest.raises(FeedlineError, match=message):
        ShardSpec(**wrong)


def test_numbers_of_numpy_are_numbers() -> None:
    """In every spec."""
    spec = ShardSpec(seed=np.int64(3), shard_count=np.uint8(2), splits=["train"])  # type: ignore[arg-type]
    assert (spec.seed, spec.shard_count, spec.splits) == (3, 2, ("train",)) and type(spec.seed) is int
    made = SyntheticSpec(layout="imagefolder", classes=np.int64(2), images_per_class=2, scale=np.float32(0.5))  # type: ignore[arg-type]
    assert type(made.classes) is int and made.scale == 0.5
    with pytest.raises(FeedlineError, match=r"classes must be an integer, got 2\.5"):
        SyntheticSpec(layout="imagefolder", classes=2.5, images_per_class=2)  # type: ignore[arg-type]
