"""What becomes of one image on its way into a shard."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from skimage import data as photographs

from feedline.prep.images.headers import image_size
from feedline.prep.shards.encode import EncodeSpec, describe_image, encode_image

from ..encoded_images import encode

# Fuzzed images make Pillow warn of broken EXIF and of sizes that would be a bomb.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")

PHOTOGRAPH = Image.fromarray(photographs.astronaut()).crop((60, 0, 391, 250))


PLAIN = encode(PHOTOGRAPH)
ODD = {
    "cmyk": encode(PHOTOGRAPH.convert("CMYK")),
    "not-jpeg": encode(PHOTOGRAPH.convert("RGBA"), "PNG"),
    "damaged": PLAIN[: len(PLAIN) // 2],
}
PROGRESSIVE = encode(PHOTOGRAPH, progressive=True)


@pytest.mark.parametrize("kind", ODD)
def test_restart_leaves_what_it_cannot_take(kind: str) -> None:
    """Unchanged, with its kind for the count and its size from the header."""
    found = encode_image(ODD[kind], EncodeSpec(encode="restart"))

    assert (found.data, found.passed_through, found.size) == (ODD[kind], kind, PHOTOGRAPH.size)
    assert found.geometry is None


def test_restart_makes_a_progressive_jpeg_sequential() -> None:
    """With tiles and the same pixels, and counted."""
    found = encode_image(PROGRESSIVE, EncodeSpec(encode="restart"))
    images = [np.asarray(Image.open(BytesIO(data))) for data in (PROGRESSIVE, found.data)]

    assert (found.made_sequential, found.passed_through, found.size) == (True, None, PHOTOGRAPH.size)
    assert found.geometry is not None
    assert np.array_equal(*images)


def test_a_progressive_jpeg_that_is_damaged_or_lacks_scans_passes_through() -> None:
    """Cut anywhere, and without its last scan but with an end marker."""
    last_scan = PROGRESSIVE.rindex(b"\xff\xda")
    for data, kind in (
        (PROGRESSIVE[: len(PROGRESSIVE) // 2], "damaged"),
        (PROGRESSIVE[:-2], "damaged"),
        (PROGRESSIVE[:last_scan] + b"\xff\xd9", "incomplete"),
    ):
        found = encode_image(data, EncodeSpec(encode="restart"))

        assert (found.data, found.passed_through, found.made_sequential) == (data, kind, False)


def test_resize_keeps_the_coefficients_of_a_small_progressive_jpeg() -> None:
    """Encoding it again would only lose quality."""
    found = encode_image(PROGRESSIVE, EncodeSpec(encode="resize", short_side=4096))

    assert found.data == encode_image(PROGRESSIVE, EncodeSpec(encode="restart")).data


@pytest.mark.parametrize("kind", ["cmyk", "not-jpeg"])
def test_resize_makes_tiled_rgb_jpegs_of_odd_images(kind: str) -> None:
    """Whatever Pillow can decode becomes an ordinary JPEG, small images too."""
    for side, size in ((100, (132, 100)), (4096, PHOTOGRAPH.size)):
        found = encode_image(ODD[kind], EncodeSpec(encode="resize", short_side=side))
        image = Image.open(BytesIO(found.data))

        assert (image.format, image.mode, image.size, found.size) == ("JPEG", "RGB", size, size)
        assert found.geometry is not None
        assert found.passed_through is None


@pytest.mark.parametrize(
    "data", [ODD["damaged"], b"", b"\xff\xd8", b"GIF89a"], ids=["cut", "empty", "start", "foreign"]
)
def test_resize_leaves_what_nobody_can_decode(data: bytes) -> None:
    """A writer of shards neither loses an image nor invents half of one."""
    found = encode_image(data, EncodeSpec(encode="resize", short_side=100))

    assert (found.data, found.passed_through) == (data, "damaged")


def test_resize_is_antialiased_and_keeps_the_quality_asked_for() -> None:
    """A chessboard of single pixels becomes grey, and a higher quality is nearer to the reference."""
    board = Image.fromarray((np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8))
    small = encode_image(encode(board, quality=100), EncodeSpec(encode="resize", short_side=64)).data
    reference = np.asarray(PHOTOGRAPH.resize((132, 100), Image.Resampling.LANCZOS), np.int16)
    errors: list[float] = []
    for quality in (50, 90):
        spec = EncodeSpec(encode="resize", short_side=100, quality=quality)
        decoded = Image.open(BytesIO(encode_image(encode(PHOTOGRAPH, quality=100), spec).data))
        errors.append(float(np.abs(np.asarray(decoded, np.int16) - reference).mean()))

    assert np.asarray(Image.open(BytesIO(small))).std() < 8
    assert errors[1] < errors[0] < 10
    assert errors[1] < 4


def test_resize_drops_metadata_but_not_the_orientation_of_the_pixels() -> None:
    """EXIF goes, and is not applied either: loaders that ignore it see the same side up as before."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees
    found = encode_image(encode(PHOTOGRAPH, exif=exif, comment=b"x"), EncodeSpec(encode="resize", short_side=100))
    image = Image.open(BytesIO(found.data))

    assert image.size == (132, 100)
    assert not image.getexif()
    assert "comment" not in image.info


def test_a_copy_says_what_tiles_it_has() -> None:
    """None of its own; those of an image that came with restart markers."""
    tiled = encode_image(PLAIN, EncodeSpec(encode="restart"))
    copied = encode_image(tiled.data, EncodeSpec(encode="copy"))

    assert encode_image(PLAIN, EncodeSpec(encode="copy")).geometry is None
    assert copied.data == tiled.data
    assert copied.geometry is not None and tiled.geometry is not None
    assert np.array_equal(copied.geometry.offsets, tiled.geometry.offsets)


@settings(max_examples=200)
@given(
    kind=st.sampled_from(["plain", "progressive", *ODD]),
    position=st.integers(0, 2000),
    value=st.binary(max_size=6),
    encode=st.sampled_from(["copy", "restart", "resize"]),
)
def test_no_bytes_stop_the_writing_of_a_shard(kind: str, position: int, value: bytes, encode: Any) -> None:
    """Damaged headers give an image or a count, never an exception, and sizes that a header can say."""
    data = {**ODD, "plain": PLAIN, "progressive": PROGRESSIVE}[kind]
    data = data[:position] + value + data[position + len(value) :]
    found = encode_image(data, EncodeSpec(encode=encode, short_side=16))

    assert found.passed_through is None or found.data == data
    assert found.geometry is None or found.passed_through is None
    assert all(0 <= side < 2**32 for side in (*image_size(data), *describe_image(data).size))
