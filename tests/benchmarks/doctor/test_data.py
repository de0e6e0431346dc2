"""What doctor says about the images of a data set: formats, costs, the gain from shards, and orientation."""

import struct
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from feedline.benchmarks.doctor.data_checks import formats, orientation
from feedline.benchmarks.doctor.data_facts import DataFacts, data_facts
from feedline.cli.main import run
from feedline.prep import prepare_imagefolder, write_shards

from ...prep.encoded_images import encode
from .test_doctor import place

PHOTOGRAPH = Image.fromarray(skimage.data.astronaut())
TURNED = b"Exif\0\0" + struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared root of two classes, in which formats are mixed."""
    place = tmp_path_factory.mktemp("photos")
    for folder in ("one", "two"):
        (place / "photos" / folder).mkdir(parents=True)
        for name, data in {
            "a.jpg": encode(PHOTOGRAPH),
            "b.jpg": encode(PHOTOGRAPH, progressive=True),
            "c.webp": encode(PHOTOGRAPH, "WEBP"),
            "d.png": encode(PHOTOGRAPH.resize((64, 64)), "PNG"),
            "e.jpg": encode(PHOTOGRAPH, exif=TURNED),
        }.items():
            (place / "photos" / folder / name).write_bytes(data)
    prepare_imagefolder([place / "photos"], place / "data")
    return place / "data"


def test_formats_are_counted_and_timed(photos: Path) -> None:
    """Every kind but the plain JPEG has a cost, and class folders of JPEGs gain from shards."""
    found = data_facts(photos)

    assert found is not None
    assert (found.images, found.examined, found.rotated) == (10, 10, 2)
    assert found.formats == {"jpeg": 4, "progressive jpeg": 2, "webp": 2, "png": 2}
    assert set(found.costs) == {"progressive jpeg", "webp", "png"}
    assert all(cost > 0 for cost in found.costs.values())
    assert found.gain is not None and found.gain > 0


def test_shards_have_their_gain_already(photos: Path, tmp_path: Path) -> None:
    write_shards(photos, out=tmp_path / "shards")
    found = data_facts(tmp_path)

    assert found is not None
    assert found.formats == {"jpeg": 6, "webp": 2, "png": 2}
    assert found.gain is None


def test_a_folder_without_images_has_no_facts(tmp_path: Path) -> None:
    assert data_facts(tmp_path) is None


def test_the_findings_say_what_follows() -> None:
    data = DataFacts(
        images=1000,
        examined=64,
        formats={"jpeg": 60, "progressive jpeg": 4},
        rotated=3,
        costs={"progressive jpeg": 2.5},
        gain=1.9,
    )
    facts = place(data=data)
    images, turned = formats(facts), orientation(facts)

    assert images is not None and turned is not None
    assert images.found == "of 1,000 images, 64 were examined: 60 jpeg, 4 progressive jpeg"
    assert "progressive jpeg 2.5; threaded would decode training crops of JPEGs 1.9 times" in str(images.consequence)
    assert str(images.mend).startswith("feedline shard ")
    assert turned.found == "EXIF turns 3 of 64 images that were examined"
    assert str(turned.mend).endswith(" --apply-orientation")


def test_verify_counts_formats_and_orientations(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(photos)]) == 0
    said = " ".join(capsys.readouterr().err.split())

    assert "10 images (4 jpeg, 2 progressive jpeg, 2 webp, 2 png)" in said
    assert "EXIF turns 2 images, and training loaders ignore it" in said
