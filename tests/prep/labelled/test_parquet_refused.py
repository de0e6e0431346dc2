"""Parquet files that are damaged, differ or do not say enough: each is refused in one sentence."""

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from feedline.prep import FeedlineError, SourceError, prepare_imagenet, prepare_parquet
from feedline.prep.labelled.parquet import parquet_sources
from feedline.prep.roots.lists import list_path, read_list
from feedline.prep.sources.reader import Reader

from .parquet_files import PETS, image, rows_of, write

pa = pytest.importorskip("pyarrow")


def test_several_label_columns_are_asked_about(tmp_path: Path) -> None:
    """As of CIFAR-100; the other one is kept as a column."""
    columns = {"img": rows_of(6)["image"], "fine_label": [0, 1, 2, 0, 1, 2], "coarse_label": [0, 0, 1, 0, 0, 1]}
    names = {"fine_label": PETS, "coarse_label": ("x", "y")}
    source = write(tmp_path / "train.parquet", columns, names)
    with pytest.raises(SourceError, match="--label-column fine_label or --label-column coarse_label"):
        prepare_parquet([source], tmp_path / "data")
    with pytest.raises(SourceError, match=r"no column 'nope'; it has: img \(struct.*fine_label \(int64\)"):
        prepare_parquet([source], tmp_path / "data", label_column="nope")
    manifest = prepare_parquet([source], tmp_path / "data", label_column="fine_label")
    assert manifest.splits["train"].columns == ("coarse_label",)
    by_file = {line.file_name: line for line in read_list(list_path(tmp_path / "data", "train"))}
    assert by_file["train/Köter/train-1.png"].columns == {"coarse_label": 0}
    assert {line.label: line.columns["coarse_label"] for line in by_file.values()} == dict(
        zip(PETS, (0, 0, 1), strict=True)
    )


def damaged(path: Path) -> Path:
    """Return a file with zeros in its middle."""
    write(path, rows_of(6, kind="JPEG"))
    data = bytearray(path.read_bytes())
    data[200:1200] = bytes(1000)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: write(p, {**rows_of(3), "label": [0, None, 1]}), r"row 1 of .* has no label in 'label'"),
        (lambda p: write(p, {**rows_of(3), "label": [0, -1, 1]}, {"label": PETS}), r"row 1 of .* has no label"),
        (lambda p: write(p, {**rows_of(3), "label": [0, 3, 1]}, {"label": PETS}), r"row 1 .* label 3 .*names 3"),
        (lambda p: write(p, {**rows_of(3), "label": [0.5, 1.0, 2.0]}), r"row 0 of .* has 0.5 in 'label'"),
        (lambda p: write(p, {**rows_of(2), "label": [[0], [1, 2]]}), "several columns|say which holds the labels"),
        (
            lambda p: write(p, {"image": [None, {"bytes": image(1), "path": None}], "label": [0, 1]}),
            "row 0 of .* has no image in 'image'",
        ),
        (
            lambda p: write(
                p,
                {"image": [{"bytes": None, "path": "a.jpg"}] * 2, "label": [0, 1]},
                types={"image": pa.struct({"bytes": pa.binary(), "path": pa.string()})},
            ),
            "row 0 .* but the path 'a.jpg': the images are not in the file",
        ),
        (lambda p: write(p, {"image": [b"%PDF-1.4 x", image(1)], "label": [0, 1]}), "row 0 .* it is a PDF file"),
        (
            lambda p: write(p, {"url": ["https://x.org/a.jpg"], "label": [0]}),
            r"no column of images as bytes; it has: url .*addresses, download the images first",
        ),
        (lambda p: write(p, {"path": ["a.jpg"], "label": [0]}), "no column of images as bytes.*--labels"),
        (
            lambda p: write(p, {"one": [image(0)], "two": [image(1)], "label": [0]}),
            "--image-column one or --image-column two",
        ),
        (lambda p: write(p, {"image": [image(0)], "x": ["a"], "y": ["b"]}), "say which holds the labels"),
        (lambda p: write(p, {"image": [image(0)], "size": [1.5]}), "say which holds the labels"),
        (lambda p: write(p, {"image": [], "label": []}, types={"image": pa.binary(), "label": pa.int64()}), "no rows"),
        (lambda p: p.write_bytes(b"PAR1 and no more") and p, "damaged or no parquet file"),
        (lambda p: p.write_bytes(b"") or p, "is empty"),
        (lambda p: p.write_bytes(b"\xff\xd8\xff\xe0") and p, "is one image"),
        (lambda p: p.write_bytes(b"some text") and p, "no parquet file"),
        (damaged, "damaged|no image|no label|missing"),
        (lambda p: p / "nowhere", "does not exist"),
        (lambda p: p.mkdir() or p, "holds no parquet file.*feedline prep imagefolder"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, build: Callable[[Path], Path], message: str) -> None:
    """With the row, the column and what to do; nothing finished is left."""
    with pytest.raises(FeedlineError, match=message) as raised:
        prepare_parquet([build(tmp_path / "x.parquet")], tmp_path / "data")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "data" / "manifest.json").exists()


def test_files_that_differ_are_refused(tmp_path: Path) -> None:
    """Other classes, other columns, one file twice."""
    one = write(tmp_path / "train-00000-of-00002.parquet", rows_of(3), {"label": PETS})
    other = write(tmp_path / "train-00001-of-00002.parquet", rows_of(3), {"label": PETS[::-1]})
    with pytest.raises(SourceError, match="has other classes than"):
        prepare_parquet([tmp_path], tmp_path / "data")
    write(other, {**rows_of(3), "x": [1, 2, 3]}, {"label": PETS})
    with pytest.raises(SourceError, match="has other columns than"):
        prepare_parquet([tmp_path], tmp_path / "data")
    with pytest.raises(SourceError, match="are one file; give it once"):
        prepare_parquet([one, tmp_path / "." / one.name], tmp_path / "data")


@pytest.mark.parametrize("count", [2, 3])
def test_sources_that_number_other_classes_are_named(count: int, tmp_path: Path) -> None:
    """A class index would mean another class in each of them."""
    places = [tmp_path / f"set{number}" / "train.parquet" for number in range(count)]
    for number, place in enumerate(places):
        write(place, rows_of(6, paths=True), {"label": [f"{name} {number}" for name in PETS]})
    with pytest.raises(SourceError, match=r"set1.* has other classes than .*set0.*; give the files of one data set"):
        prepare_parquet(places, tmp_path / "data")
    assert not (tmp_path / "data" / "manifest.json").exists()


def test_prep_imagenet_names_the_command_for_other_data_sets(tmp_path: Path) -> None:
    """A data set that is not ImageNet is no dead end there."""
    for columns in (rows_of(3), rows_of(3, paths=True), {"img": rows_of(3)["image"], "fine_label": [0, 1, 2]}):
        source = write(tmp_path / "x.parquet", columns)
        with pytest.raises(SourceError, match=r"feedline prep parquet .*x\.parquet --out ROOT"):
            prepare_imagenet([source], tmp_path / "data")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with columns of many types."""
    columns = {
        **rows_of(12, paths=True),
        "caption": [f"é{n}" for n in range(12)],
        "taken": [datetime.datetime(2026, 1, 1)] * 12,
        "boxes": [[[1.5]]] * 12,
    }
    path = tmp_path_factory.mktemp("whole") / "x.parquet"
    return write(path, columns, {"label": PETS}).read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4), st.data())
def test_any_damage_is_one_error(
    tmp_path: Path, whole: bytes, changes: list[tuple[float, int]], data: st.DataObject
) -> None:
    """Never another exception, wherever bytes are changed."""
    damaged = bytearray(whole)
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    (tmp_path / "x.parquet").write_bytes(damaged[: data.draw(st.sampled_from([None, -1, len(whole) // 2]))])
    try:
        for source in parquet_sources([tmp_path / "x.parquet"]):
            with Reader() as reader:
                listed = [image.name for image in (source.listing or source.images)(reader)]
                assert [image.name for image in source.images(reader)] == listed
    except SourceError as error:
        assert "x.parquet" in str(error) and "\n" not in str(error)
