"""EXIF orientation: read from every format, and baked in without loss where that is possible."""

import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageOps

from feedline.prep import OutputError
from feedline.prep.images.orientation import orientation, upright
from feedline.prep.images.rgb import read_rgb
from feedline.prep.shards.encode import EncodeSpec, encode_image

from ..encoded_images import encode

PHOTOGRAPH = Image.fromarray(skimage.data.astronaut())
WAYS = range(2, 9)
JPEGTRAN = {
    2: ["-flip", "horizontal"],
    3: ["-rotate", "180"],
    4: ["-flip", "vertical"],
    5: ["-transpose"],
    6: ["-rotate", "90"],
    7: ["-transverse"],
    8: ["-rotate", "270"],
}


def exif_of(way: int, order: str = "<") -> bytes:
    """Return EXIF with the maker before the orientation."""
    head = struct.pack(order + "2sHIH", b"II" if order == "<" else b"MM", 42, 8, 2)
    maker = struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc\0")
    turn = struct.pack(order + "HHIHH", 0x0112, 3, 1, way, 0)
    return b"Exif\0\0" + head + maker + turn + bytes(4)


def jpegtran(data: bytes, *options: str) -> bytes:
    return subprocess.run(["jpegtran", *options], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("way", [1, *WAYS])
def test_the_orientation_is_that_of_pillow(way: int, order: str) -> None:
    """In both byte orders, and in every format that has EXIF."""
    data = encode(PHOTOGRAPH.resize((40, 30)), exif=exif_of(way, order))

    assert orientation(data) == way == Image.open(io.BytesIO(data)).getexif()[0x0112]
    for kind in ("PNG", "WEBP"):
        assert orientation(encode(PHOTOGRAPH.resize((40, 30)), kind, exif=exif_of(way, order))) == way


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0", exif_of(0), exif_of(9), exif_of(6)[:20], exif_of(6)[:38]]
)
def test_a_broken_orientation_is_none(exif: bytes) -> None:
    """Nothing is turned by a number that means nothing."""
    assert orientation(encode(PHOTOGRAPH.resize((40, 30)), exif=exif)) == 1
    assert orientation(encode(PHOTOGRAPH.resize((40, 30)))) == 1
    assert orientation(b"") == orientation(b"\xff\xd8\xff\xe1") == 1


@pytest.mark.skipif(not shutil.which("jpegtran"), reason="needs jpegtran (Debian: libjpeg-turbo-progs)")
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "L"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_is_turned_as_by_jpegtran(way: int, subsampling: str, progressive: bool) -> None:
    """Coefficient for coefficient: written again with optimal tables, both files are equal byte for byte."""
    grey = subsampling == "L"
    image = PHOTOGRAPH.resize((96, 64)).convert("L" if grey else "RGB")
    options = {} if grey else {"subsampling": subsampling}
    data = encode(image, exif=exif_of(way), progressive=progressive, **options)

    found = upright(data)

    assert found is not None and found.change == "lossless"
    assert jpegtran(found.data, "-copy", "none", "-optimize") == jpegtran(
        data, "-copy", "none", "-optimize", "-perfect", *JPEGTRAN[way]
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(96, 64), (97, 64), (96, 65), (97, 65), (25, 13)])
def test_a_jpeg_looks_as_a_viewer_shows_it(way: int, size: tuple[int, int]) -> None:
    """At any size: where blocks cannot move, it is encoded again and says so. EXIF no longer turns it."""
    data = encode(PHOTOGRAPH.resize(size), quality=95, exif=exif_of(way))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), np.int16)

    found = upright(data)

    assert found is not None
    assert orientation(found.data) == 1
    assert np.abs(np.asarray(read_rgb(found.data), np.int16) - expected).mean() < 5
    across, down = (side % 16 == 0 for side in size)
    lossless = {2: across, 3: across and down, 4: down, 5: True, 6: down, 7: across and down, 8: across}[way]
    assert found.change == ("lossless" if lossless else "reencoded")


def test_the_rest_of_exif_is_kept() -> None:
    """Only the two bytes of the orientation change."""
    for order in "<>":
        found = upright(encode(PHOTOGRAPH.resize((64, 64)), exif=exif_of(6, order)))

        assert found is not None and exif_of(1, order) in found.data


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16"])
@pytest.mark.parametrize("way", [3, 6])
def test_other_formats_become_png_without_loss(kind: str, mode: str, way: int) -> None:
    """The pixels are those of the file, turned; 16 bits and palettes included."""
    if kind == "WEBP" and mode in ("L", "P", "I;16"):
        pytest.skip("WebP has no such mode")
    image = PHOTOGRAPH.resize((33, 20))
    if mode == "I;16":
        image = Image.fromarray((np.arange(660, dtype=np.uint16) * 99).reshape(20, 33))
    else:
        image = image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = way
    data = encode(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = np.asarray(
        read_rgb(data).transpose(Image.Transpose.ROTATE_180 if way == 3 else Image.Transpose.ROTATE_270)
    )

    found = upright(data)

    assert found is not None and found.change == "lossless"
    with Image.open(io.BytesIO(found.data)) as opened:
        assert opened.format == "PNG" and opened.getexif().get(0x0112, 1) == 1
    np.testing.assert_array_equal(np.asarray(read_rgb(found.data)), expected)


@pytest.mark.parametrize("encoding", ["restart", "resize"])
def test_an_image_in_a_shard_is_upright_if_asked(encoding: str) -> None:
    """With tiles, and counted; without the option it stays as it is."""
    data = encode(PHOTOGRAPH.resize((128, 64)), exif=exif_of(6), progressive=True)
    plain = encode_image(data, EncodeSpec(encode=encoding, short_side=32))  # type: ignore[arg-type]
    turned = encode_image(data, EncodeSpec(encode=encoding, short_side=32, apply_orientation=True))  # type: ignore[arg-type]

    assert plain.turned is None and plain.size[0] > plain.size[1]
    assert turned.turned == ("lossless" if encoding == "restart" else "reencoded")
    assert turned.size == plain.size[::-1]
    assert turned.geometry is not None and turned.passed_through is None
    assert turned.made_sequential == (encoding == "restart")
    assert orientation(turned.data) == 1


def test_a_damaged_image_passes_through_as_it_is() -> None:
    data = encode(PHOTOGRAPH, exif=exif_of(6))
    for cut in (data[:200], data[: len(data) // 2]):
        for encoding in ("restart", "resize"):
            found = encode_image(cut, EncodeSpec(encode=encoding, short_side=32, apply_orientation=True))  # type: ignore[arg-type]

            assert (found.data, found.passed_through, found.turned) == (cut, "damaged", None)


def test_a_copy_is_not_turned() -> None:
    with pytest.raises(OutputError, match="--apply-orientation changes images, and --encode copy does not"):
        EncodeSpec(encode="copy", apply_orientation=True)


SMALL = encode(PHOTOGRAPH.resize((64, 48)), exif=exif_of(6), quality=80)


@given(st.data())
@settings(max_examples=200)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_no_bytes_stop_the_writing_of_a_shard(data: st.DataObject) -> None:
    """Damage anywhere, EXIF included, gives an image or a count."""
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(2, 120) | st.integers(2, len(SMALL)))
        damaged[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    found = encode_image(bytes(damaged), EncodeSpec(encode="restart", apply_orientation=True))

    assert found.turned is not None or found.data == damaged or found.geometry is not None
