"""The list of a split: what is written is read, in order; a foreign or damaged line is refused by its number."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import DatasetError, list_samples, read_manifest, verify, write_document, write_shards
from feedline.prep.base.names import is_class_id, is_path_below
from feedline.prep.roots.lists import ListedImage, list_path, parse_line, read_list, write_list

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_line_is_an_image_or_an_error(line: bytes) -> None:
    """Whatever stands there, no other exception is raised and no path leads out of the root."""
    try:
        found = parse_line(line, "list, line 1")
    except DatasetError as error:
        assert str(error).startswith("list, line 1")
    else:
        assert is_path_below(found.file_name) and is_class_id(found.label)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.jpg", "a/../../b.jpg", "a//b.jpg", "", ".", "a\0b", 3, None])
def test_a_path_that_leads_elsewhere_is_refused(name: object) -> None:
    """On every system, before the file is opened."""
    with pytest.raises(DatasetError, match="no path below the root"):
        parse_line(json.dumps({"file_name": name, "label": "cat"}).encode(), "here")


@given(st.lists(st.tuples(st.text("aé中 .\udce9", min_size=1), st.dictionaries(st.text(max_size=5), JSON, max_size=3))))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, dict]]) -> None:
    """Any script, and file names that are not UTF-8."""
    images = [
        ListedImage(f"x{name}x/y", "class of é", {f"_{key}": value for key, value in columns.items()})
        for name, columns in rows
    ]
    path = list_path(tmp_path_factory.mktemp("list"), "train")
    write_list(path, images)

    assert list(read_list(path)) == images
    assert [file.name for file in path.parent.iterdir()] == ["train.jsonl"]


def listed(folders: Path) -> Path:
    """Turn the class folders of train into a list of files that lie elsewhere in the root, and return the root."""
    manifest = read_manifest(folders)
    samples = list_samples(folders, manifest, "train")
    (folders / "photos" / "2021").mkdir(parents=True)
    images: list[ListedImage] = []
    for sample in samples:
        place = folders / "photos" / "2021" / f"{sample.label} of {sample.name}"
        sample.path.rename(place)
        images.append(ListedImage(place.relative_to(folders).as_posix(), manifest.classes[sample.label].id))
    write_list(list_path(folders, "train"), images)
    split = replace(manifest.splits["train"], listed=True)
    write_document(folders / "manifest.json", replace(manifest, splits={**manifest.splits, "train": split}))
    return folders


@pytest.mark.parametrize("name", ["imagefolder", "threaded", "dali"])
def test_loaders_read_a_listed_split(name: str, folders: Path) -> None:
    """The same labels and images as from the class folders."""
    pytest.importorskip("nvidia.dali" if name == "dali" else "torch")
    spec = LoaderSpec(root=folders, batch_size=8, image_size=32, workers=1)

    def epoch() -> dict[int, tuple[int, float]]:
        loader = open_loader(name, spec)
        try:
            return {
                index: (label, image.float().mean().item())
                for batch in loader
                for index, label, image in zip(batch.indexes.tolist(), batch.labels.tolist(), batch.images, strict=True)
            }
        finally:
            loader.close()

    before = epoch()
    listed(folders)
    assert epoch() == before


def test_shards_of_a_listed_split_have_its_samples(folders: Path) -> None:
    """Under keys made of the files' own names."""
    root = listed(folders)
    write_shards(root)

    assert verify(root / "shards").problems == ()
    assert read_manifest(root).splits["train"].images == sum(1 for _ in read_list(list_path(root, "train")))


def test_a_missing_file_and_a_missing_list_are_named(folders: Path) -> None:
    """With the command that checks the data."""
    root = listed(folders)
    gone = next(iter(read_list(list_path(root, "train")))).file_name
    (root / gone).unlink()
    with pytest.raises(DatasetError, match=f"{Path(gone).name}.*feedline verify"):
        list_samples(root, read_manifest(root), "train")
    list_path(root, "train").unlink()
    with pytest.raises(DatasetError, match=r"train\.jsonl, which lists the images"):
        list_samples(root, read_manifest(root), "train")
