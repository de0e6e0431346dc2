"""The lossless transcode: the same coefficients, the same segments, and tiles that divide the rows."""

import io
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import skimage.data
from hypothesis import given, settings, strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from feedline.prep.images.geometry import read_geometry
from feedline.prep.images.huffman import optimal_table
from feedline.prep.images.jpeg import DHT, DRI, Segment, UnsupportedJpeg
from feedline.prep.images.parse import parse_jpeg
from feedline.prep.images.restart import add_restart_markers

from ..encoded_images import SUBSAMPLINGS, encode

PHOTOGRAPHS = {
    "astronaut": skimage.data.astronaut(),
    "chelsea": skimage.data.chelsea(),
    "coffee": skimage.data.coffee(),
    "china": load_sample_image("china.jpg"),
    "flower": load_sample_image("flower.jpg"),
}
# 1x1, one MCU and a bit, a prime number of MCUs at 8 pixels (23, 47) and at 16 (19), and both usual orientations.
SIZES = [(1, 1), (7, 5), (8, 8), (16, 16), (17, 33), (33, 17), (184, 100), (300, 225), (375, 500), (500, 375)]


def photograph(name: str, size: tuple[int, int]) -> Image.Image:
    """Return a photograph at a size in pixels."""
    return Image.fromarray(PHOTOGRAPHS[name]).resize(size, Image.Resampling.LANCZOS)


def assert_same_pixels(one: bytes, other: bytes) -> None:
    """Compare what Pillow and simplejpeg (strict: a warning is an error) decode."""
    with Image.open(io.BytesIO(one)) as a, Image.open(io.BytesIO(other)) as b:
        assert a.mode == b.mode
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(one), simplejpeg.decode_jpeg(other))


def assert_lossless(data: bytes) -> bytes:
    """Transcode ``data`` and check every promise that holds for any image; return the result."""
    result, geometry = add_restart_markers(data)
    assert_same_pixels(data, result)
    old, new = parse_jpeg(data), parse_jpeg(result)
    assert new.columns % new.restart_interval == 0
    assert geometry.restart_interval == new.restart_interval
    np.testing.assert_array_equal(geometry.offsets, read_geometry(result).offsets)
    ours = (DHT, DRI)
    assert [s for s in new.segments if s.marker not in ours] == [s for s in old.segments if s.marker not in ours]
    assert all(new.ac_tables[c.ac_table] == old.ac_tables[c.ac_table] for c in old.components)
    assert result[new.scan[1] :] == data[old.scan[1] :]
    assert add_restart_markers(result)[0] == result
    return result


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_every_subsampling_and_size_decodes_to_the_same_pixels(subsampling: str, size: tuple[int, int]) -> None:
    """Coefficients survive at every subsampling, at odd sizes and at widths of a prime number of MCUs."""
    image = photograph("china", size)
    if subsampling == "Gray":
        pixels, space = np.asarray(image.convert("L"))[:, :, None], "GRAY"
    else:
        pixels, space = np.asarray(image), "RGB"

    assert_lossless(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), 93, space, subsampling))


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 10},
        {"quality": 100, "subsampling": "4:4:4"},
        {"quality": 90, "optimize": True},
        {"quality": 90, "optimize": True, "subsampling": "4:2:2"},
        {"quality": 90, "keep_rgb": True},
        {"qtables": [[300] + [20] * 63, [500] * 64]},
        {"qtables": [[1] * 64], "subsampling": "4:4:4"},
        {"quality": 90, "restart_marker_blocks": 1},
        {"quality": 90, "restart_marker_blocks": 7},
        {"quality": 90, "restart_marker_rows": 1, "optimize": True},
        {"quality": 90, "comment": b"\xff\xd9 a comment that looks like markers \xff\xda"},
        {"quality": 90, "icc_profile": bytes(70_000)},
    ],
    ids=lambda options: str(options)[:80],  # pytest keeps the name in the environment, where Windows takes 32 KiB
)
@pytest.mark.parametrize("name", ["astronaut", "flower"])
def test_every_encoder_option_decodes_to_the_same_pixels(name: str, options: dict[str, Any]) -> None:
    """Optimised Huffman tables, 16-bit quantisation tables, restart markers, RGB and long segments survive."""
    assert_lossless(encode(photograph(name, (333, 250)), **options))


def test_a_thumbnail_in_exif_and_trailing_bytes_are_kept() -> None:
    """The JPEG inside APP1 is not mistaken for the image, and what follows EOI stays."""
    thumbnail = encode(photograph("coffee", (160, 120)))
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    result = assert_lossless(encode(photograph("coffee", (500, 375)), exif=exif) + b"trailing \xff\xd8\xff\xd9")

    assert thumbnail in result
    assert result.endswith(b"\xff\xd9trailing \xff\xd8\xff\xd9")


def test_sixteen_bit_quantisation_tables_of_small_values_are_kept_as_they_are() -> None:
    """A table of 16-bit entries below 256, which other writers would shorten, stays word for word."""
    jpeg = parse_jpeg(data := encode(photograph("chelsea", (300, 200)), quality=90))
    wide = b"".join(bytes((16 + key,)) + table.astype(">u2").tobytes() for key, table in jpeg.quantisation.items())
    segments = [Segment(marker=0xDB, payload=wide), *(s for s in jpeg.segments if s.marker != 0xDB)]

    assert_lossless(data[:2] + b"".join(s.to_bytes() for s in segments) + data[jpeg.scan[0] :])


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("quality", [90, 96])
def test_files_grow_by_less_than_one_and_a_half_percent(name: str, quality: int) -> None:
    """The price of tiles stays small for images as ImageNet has them: 500x375, 4:2:0, quality 90 to 96."""
    data = encode(photograph(name, (500, 375)), quality=quality)
    result, geometry = add_restart_markers(data)

    assert len(result) < 1.015 * len(data)
    assert geometry.restart_interval < geometry.columns


def test_the_result_depends_on_the_data_alone() -> None:
    """Threads that transcode at the same time, without the GIL, give the same bytes."""
    files = [encode(photograph(name, (300, 225)), optimize=name < "c") for name in PHOTOGRAPHS] * 8
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(add_restart_markers, files))

    assert [data for data, _ in threaded] == [add_restart_markers(memoryview(data))[0] for data in files]


@pytest.mark.skipif(not shutil.which("jpegtran"), reason="needs jpegtran (Debian: libjpeg-turbo-progs)")
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_jpegtran_finds_the_same_coefficients(subsampling: str, tmp_path: Path) -> None:
    """Written again by libjpeg-turbo with one set of optimal tables, the file and its transcode are equal."""
    image = photograph("flower", (375, 301)).convert("L" if subsampling == "Gray" else "RGB")
    pixels = np.ascontiguousarray(np.atleast_3d(np.asarray(image)))
    space = "GRAY" if subsampling == "Gray" else "RGB"
    data = simplejpeg.encode_jpeg(pixels, 95, space, subsampling)
    result, _ = add_restart_markers(data)

    assert _normalised(data, tmp_path) == _normalised(result, tmp_path)


def _normalised(data: bytes, folder: Path) -> bytes:
    path = folder / "image.jpg"
    path.write_bytes(data)
    return subprocess.run(["jpegtran", "-optimize", "-copy", "all", str(path)], capture_output=True, check=True).stdout


@pytest.mark.skipif(not shutil.which("djpeg"), reason="needs djpeg (Debian: libjpeg-turbo-progs)")
def test_djpeg_decodes_the_same_pixels_without_a_warning(tmp_path: Path) -> None:
    """libjpeg-turbo's own decoder finds nothing to complain of."""
    outputs: list[bytes] = []
    data = encode(photograph("astronaut", (333, 500)), quality=92, optimize=True)
    for number, content in enumerate((data, add_restart_markers(data)[0])):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(content)
        done = subprocess.run(["djpeg", "-strict", str(path)], capture_output=True, check=True)
        assert done.stderr == b""
        outputs.append(done.stdout)

    assert outputs[0] == outputs[1]


@given(counts=st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(any))
def test_dc_tables_hold_every_category_and_spare_the_code_of_all_ones(counts: list[int]) -> None:
    """Every symbol that occurs has a code, codes are at most 16 bits, and one code is left over (T.81 annex C)."""
    table = optimal_table(counts)
    space = sum(count << (15 - length) for length, count in enumerate(table.counts))

    assert sorted(table.symbols) == [symbol for symbol, count in enumerate(counts) if count]
    assert sum(table.counts) == len(table.symbols)
    assert space < 1 << 16


def test_common_categories_have_the_shorter_codes() -> None:
    """Counts 1, 1, 2, 4, 8 give, with the spare code, lengths 5, 5, 4 (or 3), down to 1."""
    table = optimal_table([8, 4, 2, 1, 1])

    assert table.symbols[:3] == bytes((0, 1, 2))
    assert table.counts[:5] == bytes((1, 1, 1, 1, 1))


SMALL = encode(photograph("coffee", (90, 60)), quality=85, restart_marker_blocks=2)
SCAN = parse_jpeg(SMALL).scan[0]


@given(st.data())
@settings(max_examples=400)
def test_damaged_scans_are_refused_or_decode_to_the_same_pixels(data: st.DataObject) -> None:
    """Whatever bytes are overwritten: what is accepted decodes as before, and the rest has a kind."""
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(SCAN, len(SMALL) - 3))] = data.draw(st.integers(0, 255))
    try:
        result, _ = add_restart_markers(bytes(damaged))
    except UnsupportedJpeg as error:
        assert error.kind == "damaged"
    else:
        assert_same_pixels(bytes(damaged), result)


@given(st.data())
@settings(max_examples=200)
def test_damaged_files_are_refused_or_give_tiles(data: st.DataObject) -> None:
    """Damage anywhere, in tables and sizes too, ends in a refusal or in a file whose tiles can be read."""
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(2, len(SMALL)))
        damaged[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        result, geometry = add_restart_markers(bytes(damaged))
    except UnsupportedJpeg:
        return
    np.testing.assert_array_equal(read_geometry(result).offsets, geometry.offsets)


EOB, ZRL, UNUSED, DC_ZERO, AC_ONE = "1010", "11111111001", "1" * 16, "00", "001"  # T.81 tables K.3 and K.5


@pytest.mark.parametrize(
    ("bits", "accepted"),
    [
        (DC_ZERO + EOB, True),
        (DC_ZERO + AC_ONE + EOB, True),
        (DC_ZERO + AC_ONE * 63, True),
        (DC_ZERO + ZRL * 3 + AC_ONE * 15, True),
        (DC_ZERO + AC_ONE * 64, False),
        (DC_ZERO + ZRL * 4, False),
        (DC_ZERO + UNUSED, False),
        (UNUSED, False),
        (DC_ZERO, False),
        (DC_ZERO + EOB + "1" * 8, False),
        (DC_ZERO + EOB + DC_ZERO + EOB, False),
        ("111111110" + "0" * 11 + EOB, False),
    ],
)
def test_only_a_whole_block_of_known_codes_is_accepted(bits: str, accepted: bool) -> None:
    """One 8x8 block, written by hand: overruns, unused codes, leftovers and DC values beyond 8 bits are refused."""
    template = encode(Image.new("L", (8, 8)))
    padded = bits + "1" * (-len(bits) % 8)
    scan = int(padded, 2).to_bytes(len(padded) // 8).replace(b"\xff", b"\xff\0")
    data = template[: parse_jpeg(template).scan[0]] + scan + b"\xff\xd9"

    if accepted:
        assert_lossless(data)
    else:
        with pytest.raises(UnsupportedJpeg, match=r"does not decode|too short"):
            add_restart_markers(data)


def test_a_small_file_that_claims_a_huge_image_is_refused_before_memory_is_taken() -> None:
    """Each block needs two codes, so the scan's length bounds how many blocks there can be."""
    plain = encode(photograph("coffee", (90, 60)))
    size = plain.index(b"\xff\xc0") + 5
    huge = plain[:size] + b"\x3f\xff\x3f\xff" + plain[size + 4 :]

    with pytest.raises(UnsupportedJpeg, match="too short for"):
        add_restart_markers(huge)


FUZZ = """
import sys
from dataclasses import replace

import numpy as np

from feedline.prep import SampleError
from feedline.prep.images.restart import add_restart_markers
from feedline.prep.images.splice import splice

data = sys.stdin.buffer.read()
random = np.random.default_rng(0)
accepted = [0, 0]
for _ in range(3000):
    damaged = np.frombuffer(data, np.uint8).copy()
    places = random.integers(2 if random.random() < 0.5 else len(data) // 2, len(data), random.integers(1, 4))
    damaged[places] = random.integers(0, 256, len(places))
    try:
        result, geometry = add_restart_markers(damaged.tobytes())
        accepted[0] += 1
        offsets = geometry.offsets.copy()
        if random.random() < 0.4:
            offsets[random.integers(0, len(offsets))] += random.integers(0, 500)
        if random.random() < 0.4:
            result = result[: random.integers(0, len(result))]
        box = (geometry.width // 3, geometry.height // 3, 1, geometry.height - geometry.height // 3)
        splice(result, replace(geometry, offsets=offsets), box)
        accepted[1] += 1
    except SampleError:
        continue
print(*accepted)
"""


@pytest.mark.slow
def test_no_damage_makes_compiled_code_leave_its_arrays(tmp_path: Path) -> None:
    """With numba's bounds checks on, thousands of damaged files raise no IndexError and crash nothing."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    plain = encode(photograph("coffee", (90, 60)), quality=85)
    done = subprocess.run([sys.executable, "-c", FUZZ], input=plain, capture_output=True, env=environment)

    assert done.returncode == 0, done.stderr.decode()
    transcoded, spliced = map(int, done.stdout.split())
    assert transcoded > spliced > 100
