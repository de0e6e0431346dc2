"""Synthetic class folders look like users' own: names of any script, several formats, with or without splits."""

import errno
import hashlib
import os
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from feedline.prep import OutputError, SourceError
from feedline.prep.base.names import is_class_id, is_plain_name
from feedline.prep.synthetic.archives import SyntheticSpec, write_synthetic

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "tiff": "TIFF", "ppm": "PPM"}


def made(out: Path, **fields: object) -> dict[str, bytes]:
    """Write small class folders and return the bytes of each file by its path below ``out``."""
    spec = SyntheticSpec(**{"layout": "imagefolder", "classes": 3, "images_per_class": 12, "scale": 0.1, **fields})
    assert write_synthetic(out, spec, workers=2) == (out,)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_every_class_has_its_images_and_every_format_its_share(tmp_path: Path) -> None:
    """The usual formats are JPEG, PNG and WebP, in turn. A suffix says what a file is, sometimes in upper case."""
    files = made(tmp_path / "photos")
    formats: Counter[str | None] = Counter()
    for name in files:
        with Image.open(tmp_path / "photos" / name) as image:
            image.load()
            assert image.format == FORMATS[name.rpartition(".")[2].lower()] and image.mode == "RGB", name
            formats[image.format] += 1

    assert Counter(name.partition("/")[0] for name in files) == {"St. Bernard": 12, "кот": 12, "柴犬": 12}
    assert formats == {"JPEG": 12, "PNG": 12, "WEBP": 12}
    assert any(name.endswith((".JPG", ".PNG", ".WEBP")) for name in files)
    assert len({hashlib.sha256(data).digest() for data in files.values()}) == 36


def test_splits_lie_above_the_class_folders(tmp_path: Path) -> None:
    """Validation has as many images of each class as training, but at most 50, and other ones."""
    files = made(tmp_path / "photos", splits=True, images_per_class=4, formats=("jpg",))

    assert Counter(name.rpartition("/")[0] for name in files) == {
        f"{split}/{name}": 4 for split in ("train", "val") for name in ("St. Bernard", "кот", "柴犬")
    }
    assert len({hashlib.sha256(data).digest() for data in files.values()}) == 24


def test_every_format_can_be_chosen(tmp_path: Path) -> None:
    """The formats of the option are the only ones."""
    files = made(tmp_path / "photos", formats=tuple(FORMATS), images_per_class=14)

    assert {name.rpartition(".")[2].lower() for name in files} == set(FORMATS)
    for name in files:
        with Image.open(tmp_path / "photos" / name) as image:
            image.load()
            assert image.format == FORMATS[name.rpartition(".")[2].lower()]


def test_odd_files_are_those_of_the_web_and_of_phones(tmp_path: Path) -> None:
    """There are progressive JPEGs, JPEGs on their side, grey and CMYK ones, and PNGs of three odd modes."""
    files = made(tmp_path / "photos", odd_files=True)
    found: Counter[str] = Counter()
    for name in files:
        with Image.open(tmp_path / "photos" / name) as image:
            if image.info.get("progressive"):
                found["progressive"] += 1
            elif image.getexif().get(0x0112) == 6:
                found["orientation"] += 1
            elif image.mode != "RGB":
                found[f"{image.format} {image.mode}"] += 1

    assert found == dict.fromkeys(
        ["progressive", "orientation", "JPEG L", "JPEG CMYK", "PNG P", "PNG I;16", "PNG RGBA"], 1
    )


def test_names_are_valid_on_every_system_and_differ_in_more_than_their_case(tmp_path: Path) -> None:
    """The names of 40 classes are plain file names in composed form (NFC), and possible class ids."""
    files = made(tmp_path / "photos", classes=40, images_per_class=1, formats=("gif",), scale=0.05)
    classes = [name.partition("/")[0] for name in files]

    assert len({name.casefold() for name in classes}) == 40
    for name in files:
        assert all(map(is_plain_name, name.split("/"))) and unicodedata.is_normalized("NFC", name)
    assert all(map(is_class_id, classes))


def test_the_same_spec_gives_the_same_files(tmp_path: Path) -> None:
    """The same files come again, and another seed gives other images under the same names."""
    first, again = made(tmp_path / "one", odd_files=True), made(tmp_path / "again", odd_files=True)
    other = made(tmp_path / "other", seed=1)

    assert first == again
    assert not set(first.values()) & set(other.values())


def test_an_empty_folder_is_taken_and_any_other_is_left_alone(tmp_path: Path) -> None:
    """The folder could hold the user's own images, so nothing is written into it."""
    (tmp_path / "empty").mkdir()
    assert len(made(tmp_path / "empty")) == 36
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.jpg").write_bytes(b"precious")

    with pytest.raises(OutputError, match="photos exists already and is not replaced"):
        made(tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["mine.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "photos"]


def test_a_full_disk_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised, and neither the folder nor an unfinished one is left."""

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path), None, str(len(data)))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        made(tmp_path / "photos")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"formats": ("jpg", "jxl")}, "formats must be among jpg, .* got jxl"),
        ({"formats": ("webp",), "odd_files": True}, "kinds of jpg and png, got the formats webp"),
        ({"classes": 1, "images_per_class": 6, "odd_files": True}, "at least 7 .* got 6"),
        ({"classes": 1001}, "classes .* got 1001"),
        ({"layout": "ilsvrc2012", "formats": ("jpg",)}, "options of the layout imagefolder, got ilsvrc2012"),
        ({"layout": "tiny-imagenet", "splits": True, "scale": 1}, "options of the layout imagefolder, got tiny"),
    ],
)
def test_a_value_out_of_range_is_rejected(wrong: dict[str, object], said: str, tmp_path: Path) -> None:
    """The message names the field and the value, and nothing is written."""
    with pytest.raises(SourceError, match=said):
        made(tmp_path / "photos", **wrong)
    assert list(tmp_path.iterdir()) == []
