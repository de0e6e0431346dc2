"""Parquet files of images, as Hugging Face's data sets are stored, become class folders."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from feedline.prep import OutputError, SourceError, list_samples, prepare_parquet, read_manifest, verify
from feedline.prep.roots.lists import list_path, read_list

from .parquet_files import PETS, image, prepared, rows_of, write

pa = pytest.importorskip("pyarrow")


def held(root: Path, split: str = "train") -> dict[str, list[str]]:
    """Return {class id: its file names, sorted} of a split."""
    manifest = read_manifest(root)
    found: dict[str, list[str]] = {}
    for sample in list_samples(root, manifest, split):
        found.setdefault(manifest.classes[sample.label].id, []).append(sample.name.rpartition("/")[2])
    return found


def test_names_of_the_metadata_are_the_classes_in_their_order(tmp_path: Path) -> None:
    """Of any script; the bytes are those of the rows; nothing decodes otherwise."""
    source = write(tmp_path / "pets" / "train.parquet", rows_of(9), {"label": PETS})
    manifest = prepare_parquet([source], tmp_path / "data")

    assert [entry.id for entry in manifest.classes] == list(PETS)
    assert manifest.dataset == "pets"
    assert manifest.splits["train"].per_class == (3, 3, 3)
    assert held(tmp_path / "data")["Köter"] == ["train-1.png", "train-4.png", "train-7.png"]
    assert (tmp_path / "data" / "train" / "Köter" / "train-4.png").read_bytes() == image(4)
    assert verify(tmp_path / "data", decode=True).problems == ()


def test_files_and_folders_say_their_splits(tmp_path: Path) -> None:
    """By Hugging Face's names, in folders or alone; the rows of all files of a split are together."""
    hub = tmp_path / "hub" / "data"
    write(hub / "train-00000-of-00002.parquet", rows_of(6), {"label": PETS})
    write(hub / "train-00001-of-00002-0123abcd.parquet", rows_of(6, start=6), {"label": PETS})
    write(hub / "validation-00000-of-00001.parquet", rows_of(3), {"label": PETS})
    write(hub / "test-00000-of-00001.parquet", rows_of(3), {"label": PETS})
    (hub / "README.md").write_text("not a parquet file", encoding="utf-8")
    manifest = prepare_parquet([tmp_path / "hub"], tmp_path / "data")
    assert {name: split.images for name, split in manifest.splits.items()} == {"train": 12, "val": 3, "test": 3}
    assert manifest.splits["test"].per_class == (1, 1, 1)
    assert manifest.dataset == "hub"

    for name in ("train/0000", "test/0000"):
        write(tmp_path / "default" / f"{name}.parquet", rows_of(3), {"label": PETS})
    manifest = prepare_parquet([tmp_path / "default"], tmp_path / "other")
    assert {name: split.images for name, split in manifest.splits.items()} == {"train": 3, "test": 3}
    assert held(tmp_path / "other", "test")["Köter"] == ["test_0000-1.png"]


def test_a_part_becomes_val_and_a_name_says_another_split(tmp_path: Path) -> None:
    """As for folders."""
    source = write(tmp_path / "train-00000-of-00001.parquet", rows_of(30), {"label": PETS})
    manifest = prepare_parquet([source], tmp_path / "data", val_fraction=0.2, seed=3)
    assert (manifest.splits["train"].per_class, manifest.splits["val"].per_class) == ((8, 8, 8), (2, 2, 2))

    write(tmp_path / "testA-00000-of-00001.parquet", rows_of(3), {"label": PETS})
    with pytest.raises(SourceError, match=r'nothing says the split of .*testA.*--split-from "testA=SPLIT"'):
        prepare_parquet([tmp_path], tmp_path / "more")
    manifest = prepare_parquet([tmp_path], tmp_path.parent / "more", split_from={"testA": "val"})
    assert {name: split.images for name, split in manifest.splits.items()} == {"train": 30, "val": 3}
    with pytest.raises(SourceError, match="is named 'testB'"):
        prepare_parquet([tmp_path], tmp_path / "more", split_from={"testA": "val", "testB": "val"})


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        (["b", "a", "b ", "c"], None, ["a", "b", "c"]),
        ([2, 10, 9, 2], None, ["2", "9", "10"]),
        ([1.0, 0.0, 1.0, 0.0], None, ["0", "1"]),
        ([True, False, True, False], None, ["false", "true"]),
        (["x", "y", "x", "y"], pa.dictionary(pa.int8(), pa.string()), ["x", "y"]),
        ([2, 10, 9, 2], pa.uint8(), ["2", "9", "10"]),
    ],
)
def test_labels_of_other_types(tmp_path: Path, labels: list, kind: Any, classes: list[str]) -> None:
    """Texts are sorted as text, numbers as numbers; their digits are the ids."""
    columns = {"image": rows_of(4)["image"], "label": labels}
    source = write(tmp_path / "x.parquet", columns, types={"label": kind})
    manifest = prepare_parquet([source], tmp_path / "data")
    assert [entry.id for entry in manifest.classes] == classes
    assert manifest.splits["train"].images == 4


def test_classes_that_are_stored_as_texts(tmp_path: Path) -> None:
    """The metadata may say names all the same."""
    columns = {"image": rows_of(2)["image"], "label": ["b", "a"]}
    source = write(tmp_path / "x.parquet", columns, {"label": ("x", "y", "z")})
    assert [entry.id for entry in prepare_parquet([source], tmp_path / "data").classes] == ["a", "b"]


def test_classes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """ImageNet has two cranes."""
    source = write(tmp_path / "x.parquet", rows_of(6), {"label": ("crane", "cat", "crane")})
    manifest = prepare_parquet([source], tmp_path / "data")
    assert [(entry.id, entry.name) for entry in manifest.classes] == [
        ("crane (0)", "crane"),
        ("cat", "cat"),
        ("crane (2)", "crane"),
    ]


def test_names_come_from_paths_or_rows(tmp_path: Path) -> None:
    """A path's own name if no other row of its split has it; without a path, the format gives the extension."""
    columns = {
        "image": [
            {"bytes": image(0, "JPEG"), "path": "a/b/cat.JPG"},
            {"bytes": image(1), "path": "C:\\photos\\dog.png"},
            {"bytes": image(2, "JPEG"), "path": "x/same.jpg"},
            {"bytes": image(3, "JPEG"), "path": "y/Same.jpg"},
            {"bytes": image(4, "JPEG"), "path": None},
            {"bytes": image(5), "path": "../../etc/passwd"},
            {"bytes": image(6), "path": "data:image"},
        ],
        "label": ["x"] * 7,
    }
    prepare_parquet([write(tmp_path / "own.parquet", columns)], tmp_path / "data")
    names = ["cat.JPG", "dog.png", "data%3Aimage.png", "own-2.jpg", "own-3.jpg", "own-4.jpg", "passwd.png"]
    assert held(tmp_path / "data") == {"x": sorted(names)}
    assert (tmp_path / "data" / "train" / "x" / "own-4.jpg").read_bytes() == image(4, "JPEG")


def test_further_columns_are_kept_as_json(tmp_path: Path) -> None:
    """Nested values too; columns of bytes are left out, and that is said."""
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)
    columns = {
        **rows_of(2, classes=2),
        "caption": ["a cat", None],
        "objects": [{"bbox": [[1.5, 2.0]], "id": [1]}, {"bbox": [], "id": []}],
        "score": [float("nan"), 0.25],
        "taken": [when, when],
        "file_name": ["x", "y"],
        "embedding": [b"123", b"456"],
        "masks": [[{"bytes": b"1", "path": None}], []],
        "__index_level_0__": [0, 1],
    }
    said: list[str] = []
    source = write(tmp_path / "x.parquet", columns, {"label": ("one", "two")})
    prepare_parquet([source], tmp_path / "data", image_column="image", notice=said.append)
    found = [dict(line.columns) for line in read_list(list_path(tmp_path / "data", "train"))]
    assert found == [
        {
            "caption": "a cat",
            "objects": {"bbox": [[1.5, 2.0]], "id": [1]},
            "score": None,
            "taken": when.isoformat(),
            "file_name_": "x",
        },
        {
            "caption": None,
            "objects": {"bbox": [], "id": []},
            "score": 0.25,
            "taken": when.isoformat(),
            "file_name_": "y",
        },
    ]
    assert any("left out: the columns embedding, masks, __index_level_0__" in line for line in said)
    assert any("the images are in 'image', the labels in 'label'" in line for line in said)


@pytest.mark.parametrize("column", ["image", "jpg", "img"])
def test_a_plain_column_of_bytes(tmp_path: Path, column: str) -> None:
    """Whatever its name is."""
    columns = {column: [image(n, "JPEG") for n in range(4)], "target": ["a", "b"] * 2}
    prepare_parquet([write(tmp_path / "x.parquet", columns)], tmp_path / "data")
    assert held(tmp_path / "data") == {"a": ["x-0.jpg", "x-2.jpg"], "b": ["x-1.jpg", "x-3.jpg"]}


def test_a_split_column(tmp_path: Path) -> None:
    """It counts if no name of a file says the split; unknown values are asked about."""
    columns = {**rows_of(6), "split": ["train", "train", "train", "dev", "dev", "dev"]}
    source = write(tmp_path / "all.parquet", columns, {"label": PETS})
    manifest = prepare_parquet([source], tmp_path / "data")
    assert {name: split.images for name, split in manifest.splits.items()} == {"train": 3, "val": 3}
    assert manifest.splits["train"].columns == ()
    columns["split"][5] = "fold 1"
    source = write(tmp_path / "all.parquet", columns, {"label": PETS})
    with pytest.raises(SourceError, match=r"row 5 of .* has 'fold 1' in 'split'.*--split-from \"fold 1=SPLIT\""):
        prepare_parquet([source], tmp_path / "more")
    manifest = prepare_parquet([source], tmp_path / "more", split_from={"fold 1": "train"})
    assert manifest.splits["train"].images == 4


def test_test_images_without_labels(tmp_path: Path) -> None:
    """-1 or null, as Hugging Face has them; in train they are refused with their row."""
    write(tmp_path / "hub" / "train.parquet", rows_of(6), {"label": PETS})
    columns = {**rows_of(2), "label": [-1, None]}
    write(tmp_path / "hub" / "test.parquet", columns, {"label": PETS}, types={"label": pa.int64()})
    manifest = prepare_parquet([tmp_path / "hub"], tmp_path / "data")
    assert manifest.splits["test"].images == 2 and manifest.splits["test"].per_class == ()
    assert sorted(path.name for path in (tmp_path / "data" / "test").iterdir()) == ["test-0.png", "test-1.png"]

    write(tmp_path / "hub" / "test.parquet", {**rows_of(2), "label": [-1, 0]}, {"label": PETS})
    with pytest.raises(SourceError, match="1 of 2 images of test have no label"):
        prepare_parquet([tmp_path / "hub"], tmp_path / "other")


def test_again_and_further_splits(tmp_path: Path) -> None:
    """The same command leaves a root as it is; another split is added; another source is refused."""
    hub = tmp_path / "hub"
    train = write(hub / "train.parquet", rows_of(6, paths=True), {"label": PETS})
    first, _ = prepared(train, tmp_path / "data")
    again, said = prepared(train, tmp_path / "data")
    assert again == first and any("already" in line for line in said)
    write(hub / "test.parquet", rows_of(3, paths=True), {"label": PETS})
    both, _ = prepared(hub, tmp_path / "data")
    assert both.splits["train"] == first.splits["train"] and both.splits["test"].images == 3
    write(train, rows_of(9, paths=True), {"label": PETS})
    with pytest.raises(OutputError, match="holds train of"):
        prepared(train, tmp_path / "data")


def test_numbered_labels_of_a_further_split_may_be_fewer(tmp_path: Path) -> None:
    """A split that lacks a class keeps the numbers of the others."""
    train = write(tmp_path / "train.parquet", rows_of(6))
    test = write(tmp_path / "test.parquet", {**rows_of(2), "label": [2, 0]})
    prepared(train, tmp_path / "data")
    both, _ = prepared(test, tmp_path / "data")
    assert [entry.id for entry in both.classes] == ["0", "1", "2"]
    assert both.splits["test"].per_class == (1, 0, 1)


def test_an_interrupted_run_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With images that were written before, and the same names."""
    source = write(tmp_path / "train.parquet", {**rows_of(40, paths=True), "n": list(range(40))}, {"label": PETS})

    class Stopped(Exception):
        pass

    calls: list[int] = []

    def stop(step: str, done: int, total: int) -> None:
        if step.startswith("class folders"):
            calls.append(done)
            if len(calls) > 5:
                raise Stopped

    with pytest.raises(Stopped):
        prepare_parquet([source], tmp_path / "data", progress=stop, workers=1)
    assert not (tmp_path / "data" / "manifest.json").exists()
    prepare_parquet([source], tmp_path / "data")
    prepare_parquet([source], tmp_path / "whole")
    for path in sorted((tmp_path / "whole").rglob("*.*")):
        assert (tmp_path / "data" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes(), path


def test_images_with_names_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The readings before leave the column of images alone."""
    from feedline.prep.labelled import parquet_rows

    read: list[list[str]] = []
    true = parquet_rows.rows_of

    def noted(opened: Any, columns: Any, **options: bool) -> Any:
        read.append([name for name, on in options.items() if on])
        return true(opened, columns, **options)

    monkeypatch.setattr(parquet_rows, "rows_of", noted)
    prepare_parquet([write(tmp_path / "x.parquet", rows_of(5, paths=True))], tmp_path / "data")
    assert sum("images" in options for options in read) == 1


def test_what_the_datasets_library_writes_is_read(tmp_path: Path) -> None:
    """Image and ClassLabel as it stores them, in a file of its own making."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(PETS))})
    pictures = [Image.fromarray(np.full((8, 8, 3), n * 9, np.uint8)) for n in range(6)]
    made = datasets.Dataset.from_dict({"image": pictures, "label": [2, 1, 0, 0, 1, 2]}, features=features)
    made.to_parquet(tmp_path / "train-00000-of-00001.parquet")
    manifest = prepare_parquet([tmp_path / "train-00000-of-00001.parquet"], tmp_path / "data")
    assert [entry.id for entry in manifest.classes] == list(PETS)
    assert manifest.splits["train"].per_class == (2, 2, 2)
