"""Progressive JPEGs become sequential: the same coefficients, and nothing that is damaged or incomplete is taken."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import skimage.data
from hypothesis import given, settings, strategies as st
from PIL import Image

from feedline.prep.images.coefficients import Coefficients
from feedline.prep.images.geometry import read_geometry
from feedline.prep.images.huffman import optimal_table
from feedline.prep.images.jpeg import UnsupportedJpeg
from feedline.prep.images.parse import parse_jpeg
from feedline.prep.images.progressive import make_sequential, read_progressive
from feedline.prep.images.restart import add_restart_markers
from feedline.prep.images.sequential import read_sequential

from ..encoded_images import SUBSAMPLINGS, encode

PHOTOGRAPH = Image.fromarray(skimage.data.astronaut())
SIZES = [(1, 1), (7, 5), (17, 33), (100, 184), (333, 250), (500, 375)]
NAMES = {"444": "4:4:4", "422": "4:2:2", "420": "4:2:0"}

JPEGTRAN = shutil.which("jpegtran")
needs_jpegtran = pytest.mark.skipif(not JPEGTRAN, reason="needs jpegtran (Debian: libjpeg-turbo-progs)")


def progressive_of(image: Image.Image, subsampling: str = "420", **options: object) -> bytes:
    chosen = {} if subsampling == "Gray" else {"subsampling": NAMES[subsampling]}
    return encode(image.convert("L" if subsampling == "Gray" else "RGB"), progressive=True, **chosen, **options)


def jpegtran(data: bytes, *options: str) -> bytes:
    """Return what libjpeg-turbo makes of a file without decoding its pixels."""
    command = ["jpegtran", "-copy", "all", *options]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def assert_same_coefficients(one: Coefficients, other: Coefficients) -> None:
    """Compare the blocks within the image: those beyond it have no meaning."""
    for a, b in zip(one.frame.planes(), other.frame.planes(), strict=True):
        for row in range(a.rows):
            np.testing.assert_array_equal(
                one.values[a.first + row * a.stride :][: a.columns],
                other.values[b.first + row * b.stride :][: b.columns],
            )


def assert_lossless(data: bytes) -> bytes:
    """Make a progressive JPEG sequential, check what holds for any image, and return the result."""
    result, geometry = make_sequential(data)
    with Image.open(io.BytesIO(data)) as a, Image.open(io.BytesIO(result)) as b:
        assert (a.mode, a.size, a.info.get("exif")) == (b.mode, b.size, b.info.get("exif"))
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(data), simplejpeg.decode_jpeg(result))
    assert_same_coefficients(read_progressive(data), read_sequential(result))
    np.testing.assert_array_equal(geometry.offsets, read_geometry(result).offsets)
    jpeg = parse_jpeg(result)
    assert jpeg.columns % jpeg.restart_interval == 0
    assert add_restart_markers(result)[0] == result
    return result


@pytest.mark.parametrize("subsampling", [*NAMES, "Gray"])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_keeps_its_coefficients(subsampling: str, size: tuple[int, int]) -> None:
    """Of all that Pillow writes, odd sizes included."""
    assert_lossless(progressive_of(PHOTOGRAPH.resize(size), subsampling, quality=92))


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 5},
        {"quality": 100},
        {"qtables": [[1] * 64, [1] * 64]},
        {"qtables": [[300] + [20] * 63, [500] * 64]},
        {"restart_marker_blocks": 1},
        {"restart_marker_blocks": 5},
        {"restart_marker_rows": 1},
        {"keep_rgb": True},
        {"comment": b"\xff\xd9 a comment that looks like markers \xff\xda"},
        {"icc_profile": bytes(70_000)},
    ],
    ids=lambda options: str(options)[:60],
)
def test_every_encoder_option_keeps_its_coefficients(options: dict[str, object]) -> None:
    """Restart markers in the source, 16-bit quantisation tables, RGB and long segments."""
    image = PHOTOGRAPH.resize((333, 250))
    assert_lossless(encode(image, progressive=True, **options))


def test_metadata_and_trailing_bytes_are_kept() -> None:
    """EXIF with a thumbnail that is a JPEG itself, and bytes after the end marker."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + encode(PHOTOGRAPH.resize((16, 12)))
    result = assert_lossless(progressive_of(PHOTOGRAPH, exif=exif) + b"trailing \xff\xd8\xff\xd9")

    assert exif in result
    assert result.endswith(b"\xff\xd9trailing \xff\xd8\xff\xd9")


@needs_jpegtran
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_jpegtran_finds_the_same_coefficients(subsampling: str) -> None:
    """Written again by libjpeg-turbo with one set of optimal tables, source and result are equal byte for byte."""
    image = PHOTOGRAPH.resize((375, 301)).convert("L" if subsampling == "Gray" else "RGB")
    pixels = np.ascontiguousarray(np.atleast_3d(np.asarray(image)))
    space = "GRAY" if subsampling == "Gray" else "RGB"
    data = jpegtran(simplejpeg.encode_jpeg(pixels, 95, space, subsampling), "-progressive")
    result = assert_lossless(data)

    assert jpegtran(data, "-optimize") == jpegtran(result, "-optimize")


SCRIPTS = {
    "no spectral selection": "0,1,2: 0-0, 0, 0; 0: 1-63, 0, 0; 1: 1-63, 0, 0; 2: 1-63, 0, 0;",
    "separate DC scans": "0: 0-0, 0, 0; 2: 0-0, 0, 0; 1: 0-0, 0, 0; 0: 1-63, 0, 0; 2: 1-63, 0, 0; 1: 1-63, 0, 0;",
    "two components": "0,2: 0-0, 0, 1; 1: 0-0, 0, 1; 0,1: 0-0, 1, 0; 2: 0-0, 1, 0;"
    "0: 1-63, 0, 0; 2: 1-63, 0, 0; 1: 1-63, 0, 0;",
    "many bits": "0,1,2: 0-0, 0, 3; 0,1,2: 0-0, 3, 2; 0,1,2: 0-0, 2, 1; 0,1,2: 0-0, 1, 0;"
    + "".join(f"{c}: 1-5, 0, 3; {c}: 6-63, 0, 2; {c}: 1-5, 3, 2; {c}: 1-63, 2, 1; {c}: 1-63, 1, 0;" for c in range(3)),
    "single coefficients": "0,1,2: 0-0, 0, 0;"
    + "".join(f"{c}: {k}-{k}, 0, 0;" for c in range(3) for k in range(1, 31))
    + "".join(f"{c}: 31-63, 0, 0;" for c in range(3)),
}


@needs_jpegtran
@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("restart", [None, "3B", "1"])
def test_every_order_of_scans_keeps_its_coefficients(name: str, restart: str | None, tmp_path: Path) -> None:
    """Spectral selection, successive approximation over four bits, scans of one or two components, restart markers."""
    script = tmp_path / "scans"
    script.write_text(SCRIPTS[name])
    options = ["-restart", restart] if restart else []
    data = jpegtran(encode(PHOTOGRAPH.resize((133, 99)), quality=95), "-scans", str(script), *options)

    assert jpegtran(assert_lossless(data), "-optimize") == jpegtran(data, "-optimize")


def test_flat_and_noisy_images_keep_their_coefficients() -> None:
    """Long runs of blocks without a coefficient, and blocks without a zero."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 67, 3), dtype=np.uint8)
    for image in (Image.new("RGB", (2000, 1500), (9, 200, 30)), Image.fromarray(noise)):
        for quality in (10, 100):
            assert_lossless(progressive_of(image, "444", quality=quality))


@given(counts=st.lists(st.integers(0, 2**40), min_size=256, max_size=256).filter(any))
def test_tables_of_256_symbols_have_codes_of_16_bits_at_most(counts: list[int]) -> None:
    """Every symbol that occurs has a code, and the code of all ones is spared (T.81 annex C)."""
    table = optimal_table(counts)

    assert sorted(table.symbols) == [symbol for symbol, count in enumerate(counts) if count]
    assert sum(table.counts) == len(table.symbols)
    assert sum(count << (15 - length) for length, count in enumerate(table.counts)) < 1 << 16


def test_frequencies_of_fibonacci_are_limited_to_16_bits() -> None:
    """The worst case: without the limit, the longest code would have 40 bits."""
    counts = [1, 1]
    while len(counts) < 40:
        counts.append(counts[-1] + counts[-2])
    table = optimal_table(counts)

    assert len(table.counts) == 16
    assert sum(table.counts) == 40
    assert sum(count << (15 - length) for length, count in enumerate(table.counts)) < 1 << 16


SMALL = progressive_of(PHOTOGRAPH.resize((90, 60)), quality=85, restart_marker_blocks=4)
SCAN = SMALL.index(b"\xff\xda")


def kind_of(data: bytes) -> str:
    with pytest.raises(UnsupportedJpeg) as caught:
        make_sequential(data)
    return caught.value.kind


def scans_of(data: bytes) -> list[bytes]:
    """Return the header of a progressive file without restart markers, its scans with their tables, and the end."""
    parts = data[:-2].split(b"\xff\xda")
    tables = [part.rfind(b"\xff\xc4") % (len(part) + 1) for part in parts[:-1]]  # a DC refinement has none
    starts = [parts[0][tables[0] :], *(part[cut:] for part, cut in zip(parts[1:-1], tables[1:], strict=True))]
    bodies = [*(part[:cut] for part, cut in zip(parts[1:-1], tables[1:], strict=True)), parts[-1]]
    scans = [start + b"\xff\xda" + body for start, body in zip(starts, bodies, strict=True)]
    return [parts[0][: tables[0]], *scans]


def test_missing_repeated_and_exchanged_scans_are_refused() -> None:
    """Whatever libjpeg would smooth or repair."""
    head, *scans = scans_of(progressive_of(PHOTOGRAPH.resize((90, 60)), "Gray"))
    assert_lossless(head + b"".join(scans) + b"\xff\xd9")

    assert kind_of(head + b"".join(scans[:-1]) + b"\xff\xd9") == "incomplete"
    assert kind_of(head + scans[0] + b"\xff\xd9") == "incomplete"
    assert kind_of(head + b"".join(scans[1:]) + b"\xff\xd9") == "damaged"
    assert kind_of(head + b"".join((*scans, scans[-1])) + b"\xff\xd9") == "damaged"
    assert kind_of(head + b"".join((scans[0], scans[3], scans[2], scans[1], *scans[4:])) + b"\xff\xd9") == "damaged"
    assert kind_of(head + b"\xff\xd9") == "damaged"


def test_other_kinds_are_named() -> None:
    """CMYK, 12 bits, arithmetic coding and sequential files are not taken."""
    frame = SMALL.index(b"\xff\xc2")

    assert kind_of(encode(PHOTOGRAPH.convert("CMYK"), progressive=True)) == "cmyk"
    assert kind_of(SMALL[: frame + 4] + b"\x0c" + SMALL[frame + 5 :]) == "12-bit"
    assert kind_of(SMALL[: frame + 1] + b"\xca" + SMALL[frame + 2 :]) == "arithmetic"
    assert kind_of(encode(PHOTOGRAPH)) == "damaged"
    assert kind_of(b"") == kind_of(encode(PHOTOGRAPH, "PNG")) == "not-jpeg"


def test_a_small_file_that_claims_a_huge_image_is_refused_before_memory_is_taken() -> None:
    """Each block needs a DC code, so the length of the DC scans bounds how many blocks there can be."""
    size = SMALL.index(b"\xff\xc2") + 5
    for pixels in (b"\x3f\xff\x3f\xff", b"\xff\xff\xff\xff"):
        data = SMALL[:size] + pixels + SMALL[size + 4 :]
        with pytest.raises(UnsupportedJpeg, match=r"too short for|the limit is"):
            make_sequential(data)


def test_many_scans_are_refused() -> None:
    """A small file must not take long: 1000 scans, each of which says that a band is zero."""
    head, dc, *_ = scans_of(progressive_of(Image.new("L", (64, 64)), "Gray"))
    with pytest.raises(UnsupportedJpeg, match="more than 100 scans"):
        make_sequential(head + dc * 1000 + b"\xff\xd9")


@given(st.data())
@settings(max_examples=400)
def test_damaged_scans_are_refused_or_decode_to_the_same_pixels(data: st.DataObject) -> None:
    """Whatever bytes are overwritten: what is accepted decodes as before, and the rest has a kind."""
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(SCAN, len(SMALL) - 3))] = data.draw(st.integers(0, 255))
    try:
        result, _ = make_sequential(bytes(damaged))
    except UnsupportedJpeg:
        return
    with Image.open(io.BytesIO(bytes(damaged))) as a, Image.open(io.BytesIO(result)) as b:
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@given(st.data())
@settings(max_examples=200)
def test_damaged_files_are_refused_or_give_tiles(data: st.DataObject) -> None:
    """Damage anywhere, in tables and sizes too, ends in a refusal or in a file whose tiles can be read."""
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(2, len(SMALL)))
        damaged[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        result, geometry = make_sequential(bytes(damaged))
    except UnsupportedJpeg:
        return
    np.testing.assert_array_equal(read_geometry(result).offsets, geometry.offsets)


FUZZ = """
import sys

import numpy as np

from feedline.prep import SampleError
from feedline.prep.images.progressive import make_sequential

data = sys.stdin.buffer.read()
random = np.random.default_rng(0)
accepted = 0
for _ in range(4000):
    damaged = np.frombuffer(data, np.uint8).copy()
    places = random.integers(2 if random.random() < 0.3 else len(data) // 4, len(data), random.integers(1, 4))
    damaged[places] ^= random.integers(1, 256, len(places)).astype(np.uint8)
    try:
        make_sequential(damaged.tobytes())
        accepted += 1
    except SampleError:
        continue
print(accepted)
"""


@pytest.mark.slow
def test_no_damage_makes_compiled_code_leave_its_arrays(tmp_path: Path) -> None:
    """With numba's bounds checks on, thousands of damaged files raise no IndexError and crash nothing."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    plain = progressive_of(PHOTOGRAPH.resize((90, 60)), quality=85)
    done = subprocess.run([sys.executable, "-c", FUZZ], input=plain, capture_output=True, env=environment)

    assert done.returncode == 0, done.stderr.decode()
    assert 20 < int(done.stdout) < 4000
