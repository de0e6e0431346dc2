"""Every image format under its own name, and images that EXIF would turn: the same pixels through every loader."""

import io
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from feedline.loaders import LOADERS
from feedline.prep import SHARDS, ShardSpec, list_samples, prepare_imagefolder, read_manifest, write_shards
from feedline.prep.images.files import SUFFIXES
from feedline.prep.shards.read import read_shard

from ...prep.encoded_images import encode
from ...prep.image_modes import COLOUR, MODES
from ..contract import open_named, spec_of

SIZE = 7  # evaluation resizes to 8 x 8 pixels, which the images have, and takes the first 7
ROTATED = b"Exif\0\0" + struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)

FILES = {
    "a.png": MODES["RGB png"](1)[0],
    "b.PNG": MODES["I;16 png"](1)[0],
    "c.webp": MODES["RGB webp"](1)[0],
    "d.WebP": MODES["RGBA webp"](1)[0],
    "e.bmp": MODES["L bmp"](1)[0],
    "f.gif": MODES["L gif, two frames"](1)[0],
    "g.TIF": MODES["I;16 tiff"](1)[0],
    "h.tiff": MODES["CMYK tiff"](1)[0],
    "i.ppm": MODES["RGB ppm"](1)[0],
    "j.pgm": MODES["I pgm"](1)[0],
    "k.jpg": MODES["RGB png"](1)[0],  # a name that does not say what the file is
    "l.png": encode(Image.fromarray(np.ascontiguousarray(COLOUR))),
    "m.jpeg": encode(Image.fromarray(np.ascontiguousarray(COLOUR)), exif=ROTATED),
    "n.JPG": encode(Image.fromarray(np.ascontiguousarray(COLOUR)), progressive=True),
}
MEMBERS = ["png", "png", "webp", "webp", "bmp", "gif", "tif", "tif", "ppm", "ppm", "jpg", "jpg", "jpg", "jpg"]


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared root with shards of images of every format."""
    place = tmp_path_factory.mktemp("formats")
    for split in ("train", "val"):
        for folder in ("one", "two"):
            (place / "photos" / split / folder).mkdir(parents=True)
            for name, data in FILES.items():
                (place / "photos" / split / folder / name).write_bytes(data)
    prepare_imagefolder([place / "photos"], place / "data")
    write_shards(place / "data", ShardSpec(order="sequential", shard_count=1))
    return place / "data"


def viewed(data: bytes) -> np.ndarray:
    """Return what loaders show of a JPEG of 8 x 8 pixels: its pixels as they are stored."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_the_names_of_images_are_those_of_torchvision_and_gif() -> None:
    assert set(SUFFIXES) == {*IMG_EXTENSIONS, ".gif"}


def test_every_format_is_prepared_and_named_in_shards_by_what_it_is(formats: Path) -> None:
    """A JPEG's name stays a JPEG's, as that of ImageNet's PNG; otherwise the content counts."""
    found = list_samples(formats, read_manifest(formats), "train")
    shard = next((formats / SHARDS).glob("*-train-*.tar"))
    members = [sample.image_file.name.rpartition(".")[2] for sample in read_shard(shard)]

    assert [sample.name for sample in found] == [*FILES, *FILES]
    assert members == [*MEMBERS, *MEMBERS]


@pytest.mark.parametrize("form", ["shards", "folders"])
def test_every_loader_yields_the_pixels_of_every_format(name: str, form: str, formats: Path) -> None:
    """Of palettes, 16 bits, the first frame, and without the turn that EXIF asks for."""
    needs = LOADERS[name.partition(",")[0]].needs
    if needs not in (form, "either"):
        pytest.skip(f"{name} does not read {form}")
    spec = spec_of(formats, transform="eval", image_size=SIZE, shuffle=False)
    with closing(open_named(name, spec)) as loader:
        found = {
            index: image.permute(1, 2, 0).numpy().astype(int)
            for batch in loader
            for image, index in zip(batch.images, batch.indexes.tolist(), strict=True)
        }
    expected = [
        MODES[mode](1)[1]
        for mode in ("RGB png", "I;16 png", "RGB webp", "RGBA webp", "L bmp", "L gif, two frames", "I;16 tiff")
    ]
    expected += [MODES[mode](1)[1] for mode in ("CMYK tiff", "RGB ppm", "I pgm", "RGB png")]
    expected += [viewed(FILES[name]) for name in ("l.png", "m.jpeg", "n.JPG")]

    for index, pixels in enumerate([*expected, *expected]):
        # Of a JPEG, nvJPEG's way and DALI differ by a grey level.
        assert np.abs(found[index] - pixels[:SIZE, :SIZE]).max() <= (2 if index % len(FILES) > 10 else 0), index
