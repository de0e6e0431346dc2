"""Columns from a label list to batches through the command line: copied, and used in place."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import list_samples, read_manifest

CLASSES = ("猫", "dog")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Flat images, and a list that has a caption and a price of each."""
    place = tmp_path / "photos"
    (place / "a b").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (place / "list.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "label", "caption", "price"])
        for number in range(12):
            name = f"{'a b/' * (number % 2)}{number // 2}.jpg"
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(place / name)
            rows.writerow([name, CLASSES[number % 3 == 0], f"caption, of {name}", number / 2])
    return place


@pytest.mark.parametrize("in_place", [False, True])
def test_columns_of_a_list_reach_the_batches(in_place: bool, photos: Path) -> None:
    """Each image has its own caption, from the files and from the shards."""
    out = photos if in_place else photos.with_name("data")
    assert run(["prep", "imagefolder", str(photos), "--labels", str(photos / "list.csv"), "--out", str(out)]) == 0
    assert run(["verify", str(out)]) == 0
    samples = list_samples(out, read_manifest(out), "train")
    with (photos / "list.csv").open(newline="", encoding="utf-8") as file:
        expected = {
            row["caption"]: (row["label"], float(row["price"]), row["file_name"]) for row in csv.DictReader(file)
        }
    classes = [entry.id for entry in read_manifest(out).classes]

    def check(loader_name: str, root: Path) -> None:
        loader = open_loader(
            loader_name, LoaderSpec(root=root, batch_size=5, image_size=16, columns=("price", "caption"))
        )
        seen: set[str] = set()
        try:
            for batch in loader:
                rows = zip(batch.indexes.tolist(), batch.labels.tolist(), *batch.columns.values(), strict=True)
                for index, label, price, caption in rows:
                    assert expected[caption][:2] == (classes[label], price)
                    assert samples[index].path.read_bytes() == (photos / expected[caption][2]).read_bytes()
                    seen.add(caption)
        finally:
            loader.close()
        assert seen == set(expected)

    check("imagefolder", out)
    assert run(["shard", str(out)]) == 0
    assert run(["verify", str(out / "shards")]) == 0
    for name in ("webdataset", "threaded"):
        check(name, out)
    alone = photos.with_name("alone")
    alone.mkdir()
    (out / "shards").rename(alone / "shards")
    check("threaded", alone)
