"""Shards as the source of shards: those of other tools, and feedline's own."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import (
    DatasetError,
    FeedlineError,
    OutputError,
    ShardSpec,
    find_samples,
    prepare_webdataset,
    verify,
    write_shards,
)

from ..foreign_shards import image, sample, write_folder_keys, write_img2dataset, write_tar, write_timm


def contents(root: Path, split: str = "train") -> dict[str, tuple[bytes, str, dict[str, object]]]:
    """Return {name in its .json: (image, class id in its .json, .json)} of the shards that feedline wrote."""
    found: dict[str, tuple[bytes, str, dict[str, object]]] = {}
    for path in sorted((root / "shards").glob(f"*-{split}-*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for key in {name.partition(".")[0] for name in members}:
            about = json.loads(members[f"{key}.json"])
            picture = next(data for name, data in members.items() if name.startswith(f"{key}.") and _is_image(name))
            found[about["name"]] = (picture, about["class"], about)
    return found


def _is_image(name: str) -> bool:
    return not name.endswith((".cls", ".json", ".txt"))


def test_foreign_shards_are_sharded_again_without_loss(tmp_path: Path) -> None:
    """With restart markers: the same pixels, classes and columns; the source stays as it is."""
    place = write_img2dataset(tmp_path / "train")
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    prepare_webdataset([place], tmp_path / "data", label_from="json:kind")
    manifest = write_shards(tmp_path / "data", ShardSpec(encode="restart"), out=tmp_path / "new" / "shards")

    assert [entry.id for entry in manifest.classes] == ["Käfer", "cat", "dog"] and manifest.place is None
    assert manifest.splits["train"].samples == 10 and "caption" in manifest.splits["train"].columns
    found = contents(tmp_path / "new")
    assert set(found) == {f"{number:09d}.jpg" for number in range(10)}
    for name, (data, label, about) in found.items():
        number = int(name[:9])
        pixels = [np.asarray(Image.open(io.BytesIO(held))) for held in (data, image(number))]
        assert np.array_equal(*pixels) and b"\xff\xdd" in data  # DRI: the tiles of restart markers
        assert label == ("cat", "dog", "Käfer")[number % 3] and about["txt"] == f"a {label}, number {number}"
    assert verify(tmp_path / "new", decode=True).ok
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    loader = open_loader("threaded", LoaderSpec(root=tmp_path / "new", image_size=16, columns=("caption",)))
    for batch in loader:
        for label, caption in zip(batch.labels.tolist(), batch.columns["caption"], strict=True):
            assert ("Käfer", "cat", "dog")[label] in caption
    loader.close()


def test_copy_keeps_the_bytes(tmp_path: Path) -> None:
    """Of each image, for shards given by the folder of their manifest too."""
    prepare_webdataset([write_timm(tmp_path / "wds")], tmp_path / "data")
    for source, out in ((tmp_path / "data", tmp_path / "a"), (tmp_path / "data" / "shards", tmp_path / "b")):
        write_shards(source, ShardSpec(encode="copy", splits=("val",)), out=out / "shards")
        found = contents(out, "val")
        assert {held for held, _, _ in found.values()} == {image(1000 + number) for number in range(12)}
        assert {label for _, label, _ in found.values()} == {"0", "1", "2"}


def test_keys_that_several_shards_have_stay_apart(tmp_path: Path) -> None:
    """As of writers that count from 0 in each shard: the shard's path comes before the name."""
    for number in range(2):
        members = [m for n in range(2) for m in sample(f"{n:04d}", {"jpg": image(10 * number + n), "cls": "0"})]
        write_tar(tmp_path / "wds" / "train" / f"part-{number}.tar", members)
    prepare_webdataset([tmp_path / "wds"], tmp_path / "data")
    write_shards(tmp_path / "data", ShardSpec(encode="copy"), out=tmp_path / "new" / "shards")
    found = contents(tmp_path / "new")
    assert found["train/part-1/0001.jpg"][0] == image(11) and len(found) == 4
    assert verify(tmp_path / "new").ok


def test_folder_keys_are_sharded_by_class(tmp_path: Path) -> None:
    """The names keep their folder."""
    prepare_webdataset([write_folder_keys(tmp_path / "wds")], tmp_path / "data", label_from="folder")
    write_shards(tmp_path / "data", ShardSpec(encode="copy"), out=tmp_path / "new" / "shards")
    assert all(name.startswith(f"{label}/") for name, (_, label, _) in contents(tmp_path / "new").items())
    assert verify(tmp_path / "new").splits["train"] == {"classes": 3, "images": 9}


def test_own_shards_are_sharded_again(root: Path, tmp_path: Path) -> None:
    """The samples come in the order of their indexes, so the result is that of the class folders."""
    write_shards(root / "shards", ShardSpec(encode="copy", seed=3, splits=("train",)), out=tmp_path / "new" / "shards")
    held = find_samples(root / "shards", ["train"]).splits["train"]
    expected = find_samples(root, ["train"]).splits["train"]
    assert [sample.key for sample in held] == [sample.key for sample in expected]
    assert [sample.label for sample in held] == [sample.label for sample in expected]
    assert verify(tmp_path / "new").ok


def test_what_cannot_be_sharded_is_refused(tmp_path: Path) -> None:
    """Without --out, a split without classes, shards that moved, a lost index."""
    place = write_timm(tmp_path / "wds")
    write_tar(place / "imagenet1k-test-0000.tar", sample("t", {"jpg": image(1), "cls": "-1"}))
    data = tmp_path / "data"
    prepare_webdataset([place], data)
    with pytest.raises(OutputError, match="holds shards already; say where to write the new ones: --out OTHER/shards"):
        write_shards(data)
    out = tmp_path / "new" / "shards"
    with pytest.raises(DatasetError, match="has no labelled split 'test'; it has: train, val"):
        write_shards(data, ShardSpec(splits=("test",)), out=out)
    assert set(write_shards(data, ShardSpec(encode="copy"), out=out).splits) == {"train", "val"}
    index = data / "shards" / "imagenet1k-train-0000.index"
    held = index.read_bytes()
    index.unlink()
    with pytest.raises(FeedlineError, match="feedline shard --index-only"):
        write_shards(data, out=tmp_path / "other")
    index.write_bytes(held)
    place.rename(tmp_path / "moved")
    with pytest.raises(DatasetError, match="prep webdataset SOURCE"):
        write_shards(data, out=tmp_path / "other")
