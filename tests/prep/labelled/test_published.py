"""Published data sets become roots by the commands of docs/data.md, each rebuilt as its authors arrange it."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import read_manifest, verify

from ..trees import tree
from . import published
from .published import FOODS, OBJECTS, PETS, WNIDS, WNIDS_21K, WNIDS_A

PAGE = Path(__file__).parents[3] / "docs" / "data.md"


@dataclass(frozen=True)
class Expected:
    """What a data set becomes."""

    build: Callable[[Path], Path]
    classes: tuple[str, ...]
    splits: dict[str, int]
    """{split: images of each class}."""
    left_out: str
    label: Callable[[str], str]
    """The class of an image's path below the data set."""


def breed(path: str) -> str:
    return PETS[path.rpartition("/")[2].rpartition("_")[0]][0]


def folder(path: str) -> str:
    return path.split("/")[-2]


EXPECTED = {
    "Oxford-IIIT Pets": Expected(
        published.oxford_pets, ("1", "2", "3"), {"train": 6, "test": 4}, "left out: 3 files: 3 .mat", breed
    ),
    "Food-101, official split": Expected(
        published.food_101, FOODS, {"train": 6, "val": 2}, "left out: 6 files: 4 .txt, 2 .json", folder
    ),
    "Food-101, own split": Expected(
        published.food_101, FOODS, {"train": 6, "val": 2}, "left out: 8 files: 6 .txt, 2 .json", folder
    ),
    "CIFAR-10 as folders": Expected(published.cifar_10, OBJECTS, {"train": 5, "val": 2}, "", folder),
    "ImageNet-21K-P": Expected(published.imagenet_21k_p, WNIDS_21K, {"train": 6, "val": 2}, "", folder),
    "ImageNet-A": Expected(published.imagenet_a, WNIDS_A, {"val": 4}, "left out: 1 file: 1 .txt", folder),
    "ImageNet-R": Expected(published.imagenet_r, WNIDS, {"val": 4}, "left out: 1 file: 1 .txt", folder),
    "ImageNet-Sketch": Expected(published.imagenet_sketch, WNIDS, {"val": 5}, "", folder),
}


def rows() -> dict[str, str]:
    """{data set: command} of the table in docs/data.md."""
    text = PAGE.read_text("utf-8")
    table = text.split("<!-- known data sets: a test runs each of them -->")[1].split("<!-- known data sets end -->")[0]
    cells = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
    return {name.strip(): command.strip(" `") for name, command in cells}


def test_the_table_has_every_data_set_once() -> None:
    """A row that no test runs is a mistake, and so is a test without its row."""
    assert list(rows()) == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_published_data_set_is_prepared_right(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes, splits and counts are right, each image is in its class, and what is left out is counted."""
    expected = EXPECTED[name]
    source = expected.build(tmp_path)
    before = tree(source)
    monkeypatch.chdir(tmp_path)

    code = run(shlex.split(rows()[name])[1:])

    said = capsys.readouterr().err
    assert code == 0, said
    manifest = read_manifest(tmp_path / "data")
    assert tuple(entry.id for entry in manifest.classes) == expected.classes
    count = len(expected.classes)
    assert {split: held.per_class for split, held in manifest.splits.items()} == {
        split: (each,) * count for split, each in expected.splits.items()
    }
    assert ("left out" in said) == bool(expected.left_out) and expected.left_out in said
    assert verify(tmp_path / "data").ok and tree(source) == before
    labels = {data: expected.label(path) for path, data in before.items() if re.search(r"(?i)\.(jpe?g|png)$", path)}
    copied = {path: data for path, data in tree(tmp_path / "data").items() if not path.endswith(".jsonl")}
    assert len(copied) == sum(count * each for each in expected.splits.values())
    for path, data in copied.items():
        assert path.split("/")[1] == labels[data]
