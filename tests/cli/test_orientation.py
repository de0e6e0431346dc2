"""`shard --apply-orientation` at the command line."""

import json
import struct
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from feedline.cli.main import run
from feedline.prep.base.manifest import read_shard_manifest

from ..prep.encoded_images import encode

PHOTOGRAPH = Image.fromarray(skimage.data.astronaut())
TURNED = b"Exif\0\0" + struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 8, 0, 0)


@pytest.fixture
def turned_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A prepared root of four photographs, three of which EXIF turns; one cannot be turned without loss."""
    for number, size in enumerate([(64, 64), (65, 64), (64, 65), (64, 64)]):
        folder = tmp_path / "photos" / f"class {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        exif = {} if number == 3 else {"exif": TURNED}
        (folder / f"{number}.jpg").write_bytes(encode(PHOTOGRAPH.resize(size), progressive=number == 0, **exif))
    assert run(["prep", "imagefolder", str(tmp_path / "photos"), "--out", str(tmp_path / "data")]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "EXIF turns 3 of 4 images that were examined, and training loaders ignore it" in said
    return tmp_path / "data"


def test_images_are_turned_and_counted(turned_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The manifest has how many were turned, and how; other settings find other shards."""
    code = run(["shard", str(turned_root), "--apply-orientation", "--json"])
    said = capsys.readouterr()
    again = run(["shard", str(turned_root)])

    assert code == 0
    assert read_shard_manifest(turned_root / "shards").orientation_applied == {"lossless": 2, "reencoded": 1}
    assert json.loads(said.out)["orientation_applied"] == {"lossless": 2, "reencoded": 1}
    assert "turned as their EXIF says: 2 images without loss" in " ".join(said.err.split())
    assert "turned with loss: 1 JPEGs" in " ".join(said.err.split())
    assert again == 1
    assert run(["verify", str(turned_root / "shards")]) == 0


def test_a_copy_cannot_be_turned(turned_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["shard", str(turned_root), "--apply-orientation", "--encode", "copy"]) == 1
    assert "leave one of them out" in capsys.readouterr().err
