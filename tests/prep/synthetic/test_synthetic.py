"""Synthetic archives have the layout of the official ones, classes that can be learnt, and reproducible bytes."""

import errno
import hashlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from feedline.prep import OutputError, SourceError
from feedline.prep.labels.imagenet import class_names, validation_labels, wnids
from feedline.prep.synthetic.archives import SyntheticSpec, write_synthetic
from feedline.prep.synthetic.photographs import photographs

TRAIN, VAL, TEST = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_img_test_v10102019.tar"
TINY = "tiny-imagenet-200.zip"


def members_of(data: bytes) -> dict[str, bytes]:
    """Return every member of a tar, in order; each must be a regular file with owner, group and time 0."""
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for info in tar:
            file = tar.extractfile(info)
            assert info.isreg() and file and (info.mtime, info.uid, info.gid) == (0, 0, 0)
            members[info.name] = file.read()
    return members


def train_of(archives: Path) -> dict[str, dict[str, bytes]]:
    """Return the training images as {wnid: {file name: bytes}}."""
    outer = members_of((archives / TRAIN).read_bytes())
    return {name.removesuffix(".tar"): members_of(inner) for name, inner in outer.items()}


def zip_of(archives: Path) -> dict[str, bytes]:
    """Return the files of the Tiny-ImageNet archive, without its folders."""
    with zipfile.ZipFile(archives / TINY) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def digests(archives: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in archives.iterdir()}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return archives with full-size images and odd files: 5 classes of 60."""
    out = tmp_path_factory.mktemp("official")
    write_synthetic(out, SyntheticSpec(layout="ilsvrc2012", classes=5, images_per_class=60, odd_files=True))
    return out


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Tiny-ImageNet archive of 40 classes of 12."""
    out = tmp_path_factory.mktemp("tiny")
    write_synthetic(out, SyntheticSpec(layout="tiny-imagenet", classes=40, images_per_class=12))
    return out


def test_train_is_a_tar_of_one_tar_per_real_wnid(official: Path) -> None:
    """The wnids are sorted, and files are <wnid>_<number>.JPEG with gaps between the numbers and no fixed width."""
    train = train_of(official)

    assert list(train) == sorted(train) and len(train) == 5 and set(train) <= set(wnids())
    for wnid, images in train.items():
        assert len(images) == 60 and list(images) == sorted(images)
        matches = [re.fullmatch(rf"{wnid}_([1-9][0-9]*)\.JPEG", name) for name in images]
        numbers = sorted(int(match[1]) for match in matches if match)
        assert len(numbers) == 60 and numbers[-1] > 2 * 60
        assert len({len(str(number)) for number in numbers}) > 1


def test_validation_names_are_the_official_ones_of_the_chosen_classes(official: Path) -> None:
    """The official labels give every class 50 images. The archive is flat and sorted."""
    names = list(members_of((official / VAL).read_bytes()))

    assert names == sorted(names)
    assert Counter(validation_labels()[name] for name in names) == dict.fromkeys(train_of(official), 50)


def test_test_images_have_the_official_prefix(official: Path) -> None:
    """As in the 2019 test archive, they have a test/ prefix and consecutive numbers."""
    names = list(members_of((official / TEST).read_bytes()))

    assert names == [f"test/ILSVRC2012_test_{i:08d}.JPEG" for i in range(1, 6)]


def test_the_tars_have_the_dialect_of_2012(official: Path) -> None:
    """They have the ustar magic, no extended headers, and two zero blocks at the end, padded to 10,240 bytes."""
    for name in (TRAIN, VAL, TEST):
        data = (official / name).read_bytes()
        assert data[257:263] == b"ustar\0" and len(data) % 10240 == 0 and not any(data[-1024:])
        with tarfile.open(official / name) as tar:
            assert all(info.offset_data == info.offset + 512 and not info.pax_headers for info in tar)


def test_sizes_are_distributed_as_in_imagenet(official: Path) -> None:
    """About 75 % are landscape of 500 x 330..400, 20 % portrait, 5 % large; a file has about 110 kB."""
    files = list(members_of((official / VAL).read_bytes()).values())
    sizes = [Image.open(io.BytesIO(file)).size for file in files]
    large = [size for size in sizes if max(size) != 500]
    portrait = [size for size in sizes if size[1] == 500]

    assert all(330 <= min(size) <= 400 for size in sizes if max(size) == 500)
    assert all(800 <= max(size) <= 1600 for size in large)
    assert 0.01 < len(large) / len(sizes) < 0.1
    assert 0.12 < len(portrait) / len(sizes) < 0.28
    assert 80_000 < np.mean([len(file) for file in files]) < 150_000


def test_ordinary_images_are_baseline_rgb_jpegs_with_halved_chroma(official: Path) -> None:
    """Every validation image is an RGB JPEG, 4:2:0, not progressive, and decodes."""
    for name, data in members_of((official / VAL).read_bytes()).items():
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert (image.format, image.mode) == ("JPEG", "RGB"), name
            assert JpegImagePlugin.get_sampling(image) == 2 and "progressive" not in image.info


def test_odd_files_are_what_imagenet_has(official: Path) -> None:
    """They are one RGBA PNG named .JPEG, CMYK and greyscale JPEGs, and damaged EXIF that warns but decodes."""
    found: Counter[tuple[str | None, str]] = Counter()
    for images in train_of(official).values():
        for data in images.values():
            if b"Exif\0\0" in data[:64]:
                with pytest.warns(UserWarning, match="Skipping tag 271"):
                    image = Image.open(io.BytesIO(data))
                found["exif", image.mode] += 1
            else:
                image = Image.open(io.BytesIO(data))
                found[image.format, image.mode] += 1
            image.load()

    assert found["PNG", "RGBA"] == found["JPEG", "CMYK"] == found["JPEG", "L"] == found["exif", "RGB"] == 1
    assert found["JPEG", "RGB"] == 5 * 60 - 4


def test_without_odd_files_every_image_is_an_ordinary_jpeg(tmp_path: Path) -> None:
    """Archives have odd files only with ``odd_files``."""
    write_synthetic(tmp_path, SyntheticSpec(layout="ilsvrc2012", classes=4, images_per_class=20, scale=0.2))
    images = [data for inner in train_of(tmp_path).values() for data in inner.values()]

    assert {(p.format, p.mode) for p in map(Image.open, map(io.BytesIO, images))} == {("JPEG", "RGB")}
    assert not any(b"Exif" in data for data in images)


def test_no_two_images_are_the_same(official: Path) -> None:
    """Train, validation and test share no image, so a validation score does not come from training images."""
    files = [data for images in train_of(official).values() for data in images.values()]
    files += [data for name in (VAL, TEST) for data in members_of((official / name).read_bytes()).values()]

    assert len({hashlib.sha256(data).digest() for data in files}) == len(files) == 5 * (60 + 50 + 1)


def test_all_1000_classes_can_be_made(tmp_path: Path) -> None:
    """With one small image per class, all wnids and one validation image of each are present."""
    spec = SyntheticSpec(layout="ilsvrc2012", classes=1000, images_per_class=1, scale=0.05)
    write_synthetic(tmp_path, spec)
    with tarfile.open(tmp_path / TRAIN) as tar:
        classes = [name.removesuffix(".tar") for name in tar.getnames()]
    with tarfile.open(tmp_path / VAL) as tar:
        labels = [validation_labels()[name] for name in tar.getnames()]

    assert tuple(classes) == tuple(sorted(labels)) == wnids()


@pytest.mark.parametrize("layout", ["ilsvrc2012", "tiny-imagenet"])
def test_the_same_spec_gives_the_same_bytes(layout: str, tmp_path: Path) -> None:
    """This holds for any number of workers and in another process. Another seed gives other images."""
    script = (
        "import sys; from pathlib import Path; from feedline.prep.synthetic.archives import *;"
        "write_synthetic(Path(sys.argv[1]), SyntheticSpec(layout=sys.argv[2], classes=3, images_per_class=30,"
        "seed=int(sys.argv[3]), odd_files=True, scale=0.2 if sys.argv[2] == 'ilsvrc2012' else 1), workers=4)"
    )

    def made(place: str, seed: int, workers: int) -> dict[str, str]:
        scale = 0.2 if layout == "ilsvrc2012" else 1
        spec = SyntheticSpec(layout=layout, classes=3, images_per_class=30, seed=seed, odd_files=True, scale=scale)
        write_synthetic(tmp_path / place, spec, workers=workers)
        return digests(tmp_path / place)

    first = made("one", 7, workers=1)
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "process"), layout, "7"], check=True)

    assert first == made("three", 7, workers=3) == digests(tmp_path / "process")
    assert not set(first.values()) & set(made("other", 8, workers=3).values())


def test_tiny_has_the_exact_inner_layout(tiny: Path) -> None:
    """The zip has every path of the official zip for these classes and counts, and no other."""
    files = zip_of(tiny)
    classes = files["tiny-imagenet-200/wnids.txt"].decode().split()
    expected = {"wnids.txt", "words.txt", "val/val_annotations.txt"}
    for wnid in classes:
        expected |= {f"train/{wnid}/images/{wnid}_{i}.JPEG" for i in range(12)}
        expected.add(f"train/{wnid}/{wnid}_boxes.txt")
    expected |= {f"val/images/val_{i}.JPEG" for i in range(40 * 12)}
    expected |= {f"test/images/test_{i}.JPEG" for i in range(40)}

    assert set(files) == {f"tiny-imagenet-200/{name}" for name in expected}
    assert len(set(classes)) == 40 and set(classes) <= set(wnids()) and classes != sorted(classes)


def test_tiny_texts_have_the_official_columns(tiny: Path) -> None:
    """There are names for all classes, one label and box per validation image, and boxes inside 64 x 64."""
    files = zip_of(tiny)
    root = "tiny-imagenet-200"
    classes = files[f"{root}/wnids.txt"].decode().split()
    words = dict(line.split("\t") for line in files[f"{root}/words.txt"].decode().splitlines())
    rows = [line.split("\t") for line in files[f"{root}/val/val_annotations.txt"].decode().splitlines()]
    boxes = [list(map(int, row[2:])) for row in rows]
    for wnid in classes:
        lines = files[f"{root}/train/{wnid}/{wnid}_boxes.txt"].decode().splitlines()
        assert [line.split("\t")[0] for line in lines] == [f"{wnid}_{i}.JPEG" for i in range(12)]
        boxes += [list(map(int, line.split("\t")[1:])) for line in lines]

    assert words == class_names()
    assert [row[0] for row in rows] == [f"val_{i}.JPEG" for i in range(40 * 12)]
    assert Counter(row[1] for row in rows) == dict.fromkeys(classes, 12)
    assert all(0 <= left < right <= 63 and 0 <= top < bottom <= 63 for left, top, right, bottom in boxes)


def test_tiny_images_are_64_by_64_and_some_are_grey(tiny: Path) -> None:
    """About 1.8 % of the official images are greyscale JPEGs."""
    modes: Counter[str] = Counter()
    for name, data in zip_of(tiny).items():
        if name.endswith(".JPEG"):
            with Image.open(io.BytesIO(data)) as image:
                assert (image.format, image.size) == ("JPEG", (64, 64))
                modes[image.mode] += 1

    assert set(modes) == {"RGB", "L"}
    assert 0.005 < modes["L"] / modes.total() < 0.04


def test_classes_can_be_distinguished(tiny: Path) -> None:
    """With more classes than photographs, the nearest training image still has the right class in most cases."""
    assert len(photographs()) < 40
    files = zip_of(tiny)
    prefix = "tiny-imagenet-200/"

    def seen(path: str) -> np.ndarray:
        with Image.open(io.BytesIO(files[path])) as image:
            thumbnail = image.convert("RGB").resize((8, 8), Image.Resampling.BOX)
            return np.asarray(thumbnail, np.float32).ravel()

    train = [name for name in files if name.startswith(f"{prefix}train") and name.endswith(".JPEG")]
    known = np.stack([seen(name) for name in train])
    rows = [line.split("\t") for line in files[f"{prefix}val/val_annotations.txt"].decode().splitlines()]
    nearest = [
        train[np.square(known - seen(f"{prefix}val/images/{row[0]}")).sum(1).argmin()].split("/")[2] for row in rows
    ]
    accuracy = np.mean([guess == row[1] for guess, row in zip(nearest, rows, strict=True)])

    assert accuracy > 0.5  # chance is 0.025


def test_progress_counts_every_image(tmp_path: Path) -> None:
    """Each split reports 1 to its total, in order."""
    calls: list[tuple[str, int, int]] = []
    spec = SyntheticSpec(layout="ilsvrc2012", classes=2, images_per_class=3, scale=0.1)
    write_synthetic(tmp_path, spec, progress=lambda *call: calls.append(call))

    expected = [("train images", i, 6) for i in range(1, 7)] + [("val images", i, 6) for i in range(1, 7)]
    assert calls == [*expected, ("test images", 1, 2), ("test images", 2, 2)]


def test_an_existing_archive_is_never_replaced(tmp_path: Path) -> None:
    """It could be the real one, so nothing is written, and the message names the file."""
    (tmp_path / VAL).write_bytes(b"precious")
    with pytest.raises(OutputError, match=VAL):
        write_synthetic(tmp_path, SyntheticSpec(layout="ilsvrc2012", classes=1, images_per_class=1))

    assert [path.name for path in tmp_path.iterdir()] == [VAL]
    assert (tmp_path / VAL).read_bytes() == b"precious"


def test_a_file_in_place_of_the_folder_is_rejected(tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "archives").write_text("something else")
    with pytest.raises(OutputError, match="archives"):
        write_synthetic(tmp_path / "archives", SyntheticSpec(layout="tiny-imagenet", classes=1, images_per_class=1))


@pytest.mark.parametrize("layout", ["ilsvrc2012", "tiny-imagenet"])
def test_a_full_disk_leaves_no_file(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised, and no unfinished file is left."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_synthetic(tmp_path, SyntheticSpec(layout=layout, classes=1, images_per_class=1))

    assert list(tmp_path.iterdir()) == []


def test_missing_photographs_name_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without scikit-image the message holds the command, and nothing is written."""
    photographs.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=re.escape("pip install 'feedline[demo]'")):
        write_synthetic(tmp_path, SyntheticSpec(layout="ilsvrc2012", classes=1, images_per_class=1))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"layout": "cifar"}, "cifar"),
        ({"classes": 0}, "classes .* got 0"),
        ({"classes": 1001}, "classes .* got 1001"),
        ({"layout": "tiny-imagenet", "classes": 201}, "classes .* got 201"),
        ({"images_per_class": 0}, "images_per_class .* got 0"),
        ({"images_per_class": 1301}, "images_per_class .* got 1301"),
        ({"layout": "tiny-imagenet", "images_per_class": 501}, "images_per_class .* got 501"),
        ({"classes": 1, "images_per_class": 3, "odd_files": True}, "at least 4 .* got 3"),
        ({"scale": 0.0}, "scale .* got 0.0"),
        ({"scale": float("nan")}, "scale .* got nan"),
        ({"layout": "tiny-imagenet", "scale": 0.5}, "scale .* got 0.5"),
    ],
)
def test_a_value_out_of_range_is_rejected(wrong: dict[str, object], said: str) -> None:
    """The message names the field and the value."""
    with pytest.raises(SourceError, match=said):
        SyntheticSpec(**{"layout": "ilsvrc2012", "classes": 10, "images_per_class": 10, **wrong})
