"""Images of every mode through every loader: the same numbers, known beforehand. And files that are no images."""

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feedline.loaders import LOADERS
from feedline.prep import (
    MANIFEST,
    SHARDS,
    SampleError,
    ShardSpec,
    list_samples,
    read_manifest,
    write_document,
    write_shards,
)
from feedline.train.evaluation.image_files import read_images, thumbnail

from ...prep.foreign_files import EPS
from ...prep.image_modes import MODES
from ..contract import open_named, spec_of

SIZE = 7  # evaluation resizes to 8 x 8 pixels, which the images have, and takes the first 7


@pytest.fixture(scope="module")
def modes(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared root with shards whose first training images are those of MODES, in order."""
    copy = tmp_path_factory.mktemp("modes") / "data"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(SHARDS))
    for mode, path in zip(MODES.values(), train_files(copy), strict=False):
        path.write_bytes(mode(1)[0])
    record_sizes(copy)
    write_shards(copy, ShardSpec(splits=("train",), encode="copy"))
    return copy


@pytest.fixture
def eps(root: Path, tmp_path: Path) -> Path:
    """A prepared root with shards, in which an EPS file has the name of an image."""
    copy = tmp_path / "eps"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(SHARDS))
    train_files(copy)[3].write_bytes(EPS)
    record_sizes(copy)
    write_shards(copy, ShardSpec(splits=("train",), encode="resize", short_side=64))
    return copy


@pytest.fixture(params=["shards", "folders"])
def form(request: pytest.FixtureRequest, name: str) -> str:
    """Every form of the data that the loader reads."""
    if LOADERS[name.partition(",")[0]].needs not in (request.param, "either"):
        pytest.skip(f"{name} does not read {request.param}")
    return request.param


def train_files(root: Path) -> list[Path]:
    return [sample.path for sample in list_samples(root, read_manifest(root), "train")]


def record_sizes(root: Path) -> None:
    """Let the manifest say what the folders hold now: shards of other bytes than it lists count as old."""
    manifest = read_manifest(root)
    size = sum(path.stat().st_size for path in train_files(root))
    splits = {**manifest.splits, "train": replace(manifest.splits["train"], bytes=size)}
    write_document(root / MANIFEST, replace(manifest, splits=splits))


def in_form(root: Path, form: str, place: Path) -> Path:
    ignored = shutil.ignore_patterns(*([SHARDS] if form == "folders" else []))
    return Path(shutil.copytree(root, place / "in-form", ignore=ignored))


def test_every_loader_yields_the_pixels_that_a_viewer_shows(name: str, form: str, modes: Path, tmp_path: Path) -> None:
    """Without tolerance: nothing is resized, and all loaders leave these files to Pillow."""
    spec = spec_of(in_form(modes, form, tmp_path), transform="eval", image_size=SIZE, shuffle=False)
    with closing(open_named(name, spec)) as loader:
        found = {
            index: image.permute(1, 2, 0).numpy()
            for batch in loader
            for image, index in zip(batch.images, batch.indexes.tolist(), strict=True)
        }
    wrong = [
        mode for index, mode in enumerate(MODES) if not np.array_equal(found[index], MODES[mode](1)[1][:SIZE, :SIZE])
    ]

    assert wrong == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_eps_file_is_refused_by_name_and_starts_no_program(
    name: str, form: str, workers: int, eps: Path, tmp_path: Path, ghostscript: Path
) -> None:
    """In the caller's thread and in workers, whichever way the loader came to the file."""
    spec = spec_of(in_form(eps, form, tmp_path), workers=workers)
    with (
        closing(open_named(name, spec)) as loader,
        pytest.raises(SampleError, match=r"cannot decode .*: the file is an EPS file; feedline opens BMP, GIF"),
    ):
        list(loader)

    assert not ghostscript.exists()


def test_thumbnails_show_the_same_pixels(modes: Path) -> None:
    """Those of the gallery of `feedline compare`."""
    images = read_images(modes, "train", range(len(MODES)))
    wrong = [
        mode
        for mode, image in zip(MODES, images, strict=True)
        if not np.array_equal(np.asarray(thumbnail(image, 8)), MODES[mode](1)[1])
    ]

    assert wrong == []
