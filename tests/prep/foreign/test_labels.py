"""Where the class of a sample stands, what it may be, and when the user is asked."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import DatasetError, FeedlineError, ShardManifest, index_shards, prepare_webdataset, verify
from feedline.prep.shards.rules import SampleRule, label_in

from ..foreign_shards import image, sample, write_folder_keys, write_img2dataset, write_tar, write_w21


def write_split(path: Path, files: list[dict[str, Any]], **tar: int) -> Path:
    """Write a shard of one sample for each dict of members; each gets a JPEG if it has no image."""
    members: list[tuple[str, bytes]] = []
    for number, held in enumerate(files):
        members += sample(f"{number:04d}", {"jpg": image(number), **held})
    return write_tar(path, members, **tar)


def labels_of(root: Path, split: str = "train") -> list[int]:
    """Return the labels by sample index, as a loader yields them."""
    loader = open_loader("threaded", LoaderSpec(root=root, split=split, batch_size=4, image_size=16, shuffle=False))
    try:
        found = {int(i): int(label) for batch in loader for i, label in zip(batch.indexes, batch.labels, strict=True)}
    finally:
        loader.close()
    return [found[index] for index in range(len(found))]


def ids(manifest: ShardManifest) -> list[str]:
    return [entry.id for entry in manifest.classes]


@pytest.mark.parametrize(
    ("files", "label_from", "classes", "labels"),
    [
        ([{"cls": "2"}, {"cls": " 0\n"}, {"cls": "\ufeff2"}], None, ["0", "1", "2"], [2, 0, 2]),
        ([{"cls": "zebra"}, {"cls": "ant\n"}, {"cls": "Käfer"}], None, ["Käfer", "ant", "zebra"], [2, 1, 0]),
        ([{"cls": "7"}, {"cls": "cat"}], None, ["7", "cat"], [0, 1]),
        ([{"json": {"label": 1}}, {"json": {"label": 0}}], "json:label", ["0", "1"], [1, 0]),
        ([{"json": {"label": "1"}}, {"json": {"label": "01"}}], "json:label", ["01", "1"], [1, 0]),
        ([{"json": {"meta": {"cat": "b"}}}, {"json": {"meta": {"cat": "a"}}}], "json:meta.cat", ["a", "b"], [1, 0]),
        ([{"json": {"a.b": "x", "a": {"b": "y"}}}] * 2, "json:a.b", ["x"], [0, 0]),
        ([{"txt": "dog"}, {"txt": "cat\r\n"}], "txt", ["cat", "dog"], [1, 0]),
        ([{"txt": "10"}, {"txt": "9"}], "txt", ["10", "9"], [0, 1]),
    ],
)
def test_labels_are_numbers_or_text(
    files: list[dict[str, Any]], label_from: str | None, classes: list[str], labels: list[int], tmp_path: Path
) -> None:
    """Numbers of a .cls or of JSON are class indexes; text is sorted. Loader and verify agree."""
    place = write_split(tmp_path / "wds" / "train-0.tar", files).parent
    found = prepare_webdataset([place], tmp_path / "data", label_from=label_from)

    assert ids(found) == classes and labels_of(tmp_path / "data") == labels and verify(tmp_path / "data").ok


def test_the_folder_of_the_key_can_be_the_class(tmp_path: Path) -> None:
    """As in a tar of class folders; of several folders the last."""
    place = write_folder_keys(tmp_path / "wds")
    found = prepare_webdataset([place], tmp_path / "data", label_from="folder")
    assert ids(found) == ["n01440764", "n01443537", "n02110185"]
    assert labels_of(tmp_path / "data") == [0, 0, 0, 1, 1, 1, 2, 2, 2]

    write_tar(tmp_path / "deep" / "train-0.tar", [("./x/b/1.jpg", image(0)), ("./x/a/1.jpg", image(1))])
    prepare_webdataset([tmp_path / "deep"], tmp_path / "other", label_from="folder")
    assert labels_of(tmp_path / "other") == [1, 0]


def test_gaps_between_numbers_are_classes_without_samples(tmp_path: Path) -> None:
    """The numbers stay what they are, and the gaps are reported."""
    said: list[str] = []
    found = prepare_webdataset([write_w21(tmp_path / "wds")], tmp_path / "data", notice=said.append)

    assert len(found.classes) == 19167 and labels_of(tmp_path / "data", "val") == [0, 7, 19166]
    assert said == ["19164 of the 19167 classes have no sample, such as 00001"]
    assert found.splits["train"].per_class[7] == 2 and sum(found.splits["train"].per_class) == 6


def test_where_the_class_stands_is_asked_if_there_is_no_cls(tmp_path: Path) -> None:
    """With the places of the first sample, their values, and the command."""
    place = write_img2dataset(tmp_path / "train")
    with pytest.raises(DatasetError) as error:
        prepare_webdataset([place], tmp_path / "data")
    said = str(error.value)
    assert "the sample '000000000' has .jpg, .json, .txt and no .cls with a class; say where it stands:" in said
    assert f"feedline prep webdataset {place} --out {tmp_path / 'data'} with" in said
    for option in ("json:kind ('cat')", "json:width (48)", "json:tags.animal ('cat')", "json:caption ('a cat, number"):
        assert f"--label-from {option}" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("label_from", "message"),
    [
        ("json:nothing", r"and no class at json:nothing; say where it stands: .*--label-from json:kind"),
        ("json:tags", r"at 'tags', and a class is one number or text; choose another key"),
        ("folder", r"and no class at folder; say where"),
        ("cls", r"and no class at cls; say where"),
        ("idx", r"--label-from 'idx' is none of cls, txt, folder and json:KEY"),
        ("json:", r"is none of cls, txt, folder and json:KEY"),
    ],
)
def test_a_place_without_a_class_is_refused_before_all_is_read(label_from: str, message: str, tmp_path: Path) -> None:
    """By the first sample of each split."""
    with pytest.raises(DatasetError, match=message):
        prepare_webdataset([write_img2dataset(tmp_path / "train")], tmp_path / "data", label_from=label_from)
    assert not (tmp_path / "data").exists()


def test_captions_as_classes_are_reported(tmp_path: Path) -> None:
    """Almost each sample has a class of its own."""
    place, said = write_img2dataset(tmp_path / "train", shards=5), list[str]()
    prepare_webdataset([place], tmp_path / "data", label_from="txt", notice=said.append)
    assert "25 samples have 25 classes" in said[-1] and "choose another --label-from" in said[-1]


@pytest.mark.parametrize("held", [{"cls": "-1"}, {}, {"json": {"label": -1}}, {"json": {"label": None}}])
def test_test_shards_without_classes_are_counted_only(held: dict[str, Any], tmp_path: Path) -> None:
    """Their class is -1 or missing: no loader takes them, and verify and training of the rest work."""
    labelled = {"json": {"label": 1}} if "json" in held else {"cls": "1"}
    write_split(tmp_path / "wds" / "x-train-0.tar", [labelled] * 2)
    write_split(tmp_path / "wds" / "x-test-0.tar", [held] * 3)
    found = prepare_webdataset(
        [tmp_path / "wds"], tmp_path / "data", label_from="json:label" if "json" in held else None
    )
    assert (found.splits["test"].samples, found.splits["test"].labelled) == (3, False)
    assert found.splits["test"].per_class == () and found.splits["train"].labelled
    assert verify(tmp_path / "data").ok and verify(tmp_path / "data").splits["test"] == {"classes": 0, "images": 3}
    for name in ("threaded", "webdataset"):
        with pytest.raises(
            FeedlineError, match=r"the samples of test in .* have no classes; choose another split: train"
        ):
            open_loader(name, LoaderSpec(root=tmp_path / "data", split="test"))
    assert index_shards(tmp_path / "data" / "shards") == found


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_with_some_classes_only_is_refused(split: str, tmp_path: Path) -> None:
    """The first sample without one is named."""
    write_split(tmp_path / "wds" / f"x-{split}-0.tar", [{"cls": "1"}, {"cls": "-1"}, {}])
    with pytest.raises(DatasetError, match=f"2 of the 3 samples of {split} have no class in cls: .*'0001.cls'"):
        prepare_webdataset([tmp_path / "wds"], tmp_path / "data")
    assert not (tmp_path / "data" / "shards" / "manifest.json").exists()


def test_a_val_without_classes_is_refused(tmp_path: Path) -> None:
    """Only test may be without: a forgotten option must not make a validation set that is never used."""
    write_split(tmp_path / "wds" / "x-train-0.tar", [{"cls": "1"}])
    write_split(tmp_path / "wds" / "x-val-0.tar", [{}, {}])
    with pytest.raises(DatasetError, match="2 of the 2 samples of val have no class in cls"):
        prepare_webdataset([tmp_path / "wds"], tmp_path / "data")


@pytest.mark.parametrize(
    ("held", "label_from", "message"),
    [
        ({"cls": b"\xff\xfe"}, None, "is no text in UTF-8, so it holds no class"),
        ({"cls": ""}, None, "holds '', which is no class"),
        ({"cls": "a\nb"}, None, r"holds 'a\\nb', which is no class"),
        ({"cls": "x" * 5000}, None, "has 5000 bytes, too many for a class"),
        ({"json": {"label": [1, 2]}}, "json:label", "has a list of classes at 'label', and a class is one number"),
        ({"json": {"label": True}}, "json:label", "has true at 'label'"),
        ({"json": {"label": 2.5}}, "json:label", "has 2.5 at 'label'"),
        ({"json": {"label": 10**9}}, "json:label", "has the class 1000000000, which is not in 0..999999"),
        ({"json": {"label": -5}}, "json:label", "has the class -5"),
        ({"json": b"{"}, "json:label", "is no JSON"),
        ({"json": b"[" * 100_000}, "json:label", "is no JSON"),
    ],
)
def test_a_label_that_is_none_is_named(
    held: dict[str, Any], label_from: str | None, message: str, tmp_path: Path
) -> None:
    """In the second sample, so that the whole shard is read first: one sentence, and no manifest."""
    good: dict[str, Any] = {"json": {"label": 1}} if label_from else {"cls": "1"}
    write_split(tmp_path / "wds" / "x-train-0.tar", [good, held])
    with pytest.raises(FeedlineError, match=message):
        prepare_webdataset([tmp_path / "wds"], tmp_path / "data", label_from=label_from)
    assert not (tmp_path / "data" / "shards" / "manifest.json").exists()


@given(st.binary(max_size=200), st.sampled_from(["cls", "txt", "json:a", "json:a.b", "folder"]), st.text(max_size=9))
def test_any_bytes_are_a_label_or_a_sentence(data: bytes, label_from: str, key: str) -> None:
    """Nothing but a DatasetError."""
    try:
        label_in(SampleRule(label_from=label_from), key, data, "here")
    except DatasetError as error:
        assert str(error).startswith("here ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_any_json_is_a_label_or_a_sentence(value: Any) -> None:
    """Nothing but a DatasetError."""
    for held in (value, {"a": value}, {"a": {"b": value}}):
        try:
            label_in(SampleRule(label_from="json:a.b"), "k", json.dumps(held).encode(), "here")
        except DatasetError as error:
            assert str(error).startswith("here ")


def test_names_of_classes(tmp_path: Path) -> None:
    """From a file, for numbers and for text, also when the shards are prepared already."""
    write_split(tmp_path / "wds" / "x-train-0.tar", [{"cls": "11"}, {"cls": "7"}])
    names = tmp_path / "names.txt"
    names.write_text("7\tgoldfish\n011\t鯨\n", encoding="utf-8")
    plain = prepare_webdataset([tmp_path / "wds"], tmp_path / "data")
    assert (plain.classes[7].id, plain.classes[7].name) == ("07", "class 7")
    for root in ("data", "fresh"):
        found = prepare_webdataset([tmp_path / "wds"], tmp_path / root, names_file=names)
        assert (found.classes[7].name, found.classes[11].name) == ("goldfish", "鯨")
    names.write_text("nothing\n")
    with pytest.raises(FeedlineError, match=r"line 1 of .* is 'nothing'; write a class id, a tab and a name"):
        prepare_webdataset([tmp_path / "wds"], tmp_path / "data", names_file=names)


def test_keys_of_any_bytes(tmp_path: Path) -> None:
    """Names that are not UTF-8, and long ones in pax headers, as wds.ShardWriter writes them."""
    members = [m for key in ("caf\udce9", "ü" * 90, "a b") for m in sample(key, {"jpg": image(1), "cls": "0"})]
    write_tar(tmp_path / "wds" / "train-0.tar", members, tarfile.PAX_FORMAT)
    prepare_webdataset([tmp_path / "wds"], tmp_path / "data")

    assert verify(tmp_path / "data").ok and labels_of(tmp_path / "data") == [0, 0, 0]
    loader = open_loader("webdataset", LoaderSpec(root=tmp_path / "data", batch_size=3, image_size=16))
    assert sum(len(batch.indexes) for batch in loader) == 3
    loader.close()
