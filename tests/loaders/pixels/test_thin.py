"""Images much longer than wide, and images that memory does not hold: every loader makes only what a sample needs."""

import io
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from feedline.cli.main import run
from feedline.loaders import LoaderSpec, open_loader
from feedline.loaders.pixels import ready
from feedline.loaders.pixels.reference import read_pixels
from feedline.prep import SHARDS, ShardSpec, prepare_imagefolder, write_shards

from ..contract import COVERING, DCT, GPU, PLANAR, open_named, require_loader

SIZES = [(20_000, 2), (65_500, 1), (1, 65_500), (4_000, 40), (30, 3_000), (64, 48)]


@st.composite
def thin_sizes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Return width, height and image size of thin images whose whole resize still has at most a megapixel."""
    short, size = draw(st.integers(1, 200)), draw(st.integers(4, 64))
    long = draw(st.integers(6 * short, max(6 * short + 1, min(60_000, 500_000 // short, 600 * short))))
    side = round(size * 256 / 224)
    long = min(long, max(6 * short, 1_000_000 * short // side**2))
    return (*draw(st.permutations([short, long])), size)  # type: ignore[return-value]


@settings(max_examples=40)
@given(thin_sizes(), st.sampled_from(["bilinear", "bicubic"]), st.integers(0, 2**32 - 1))
def test_the_part_that_is_resized_has_torchvisions_pixels(
    sizes: tuple[int, int, int], interpolation: str, seed: int
) -> None:
    """Of noise, which shows every wrong weight: two grey levels at most, and bit for bit if the image is not thin."""
    width, height, size = sizes
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    png = io.BytesIO()
    image.save(png, "png", compress_level=0)
    spec = LoaderSpec(root=Path(), image_size=size, transform="eval", interpolation=interpolation)  # type: ignore[arg-type]
    side = round(size * 256 / 224)
    whole = v2.Resize(side, interpolation=InterpolationMode(interpolation), antialias=True)(image)
    expected = np.asarray(v2.CenterCrop(size)(whole)).astype(int)

    actual = read_pixels(png.getvalue(), (), spec)

    most = 0 if whole.width * whole.height <= 8 * size * size else 2 if interpolation == "bilinear" else 24
    assert np.abs(actual - expected).max() <= most


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("width", "height"), [(71, 2_236), (2_236, 71), (207, 296), (3, 900)])
def test_the_compiled_resize_and_pillows_agree(
    width: int, height: int, interpolation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of noise, by two grey levels: an evaluation does not depend on how long a compilation takes."""
    folder = tmp_path / "photos" / "class"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.jpg", quality=95)
    prepare_imagefolder([tmp_path / "photos"], tmp_path / "data")
    spec = LoaderSpec(
        root=tmp_path / "data",
        image_size=42,
        resize_size=190,
        transform="eval",
        shuffle=False,
        interpolation=interpolation,
    )
    with closing(open_loader("threaded", spec)) as loader:
        (after,) = loader
        monkeypatch.setattr(ready, "usable", lambda: False)
        (before,) = loader
    assert (after.images.int() - before.images.int()).abs().max() <= 2


@pytest.fixture(scope="module")
def thin_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with shards of thin images, two of each size."""
    folder = tmp_path_factory.mktemp("thin")
    for number, (width, height) in enumerate(SIZES):
        ramp = np.linspace(0, 255, width * height).reshape(height, width)[..., None].repeat(3, 2).astype(np.uint8)
        for name in ("a", "b"):
            (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(ramp).save(folder / "photos" / name / f"{number}.jpg", quality=95)
    prepare_imagefolder([folder / "photos"], folder / "data")
    write_shards(folder / "data", ShardSpec(seed=1))
    return folder / "data"


def peak_begins_again() -> bool:
    """Let the kernel forget the most memory that this process has held; return whether it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def memory(word: str) -> int:
    """Return the bytes that this process holds (VmRSS), or the most that it has held (VmHWM)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{word}:"))
    return 1024 * int(line.split()[1])


@pytest.mark.parametrize("name", [*COVERING, DCT, GPU, PLANAR])
@pytest.mark.parametrize("transform", ["train", "eval"])
def test_a_thin_image_costs_no_more_than_its_box(name: str, transform: str, thin_root: Path) -> None:
    """torchvision's Resize makes 12 GB of the image of 65,500 x 1 pixels; nothing here takes a hundredth of that."""
    spec = LoaderSpec(root=thin_root, batch_size=4, image_size=224, transform=transform, seed=1)  # type: ignore[arg-type]
    loader = open_named(require_loader(name), spec)
    if not peak_begins_again():
        loader.close()
        pytest.skip("this system does not measure the peak of a part of a process")
    before = memory("VmRSS")
    with closing(loader):
        images = sum(len(batch.indexes) for batch in loader)
    grown = memory("VmHWM") - before

    assert images == 2 * len(SIZES)
    assert grown < 128_000_000


def test_prep_and_verify_report_thin_images(
    thin_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = thin_root.parent / "photos"
    assert run(["prep", "imagefolder", str(photos), "--out", str(tmp_path / "data")]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "10 of 12 images that were examined are more than 16 times as long as wide" in said
    for path in (thin_root, thin_root / SHARDS):
        assert run(["verify", str(path)]) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert "has 65500 x 1 pixels, more than 16 times as long as wide" in said
        assert "has 64 x 48" not in said


SHORT = """
import logging, resource, sys
from pathlib import Path
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import LoaderError, SampleError

logging.disable()
for name in sys.argv[2:]:
    spec = LoaderSpec(root=Path(sys.argv[1]), batch_size=8, image_size=32, on_error="skip", shuffle=False)
    with open_loader(name, spec) as loader:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + 400_000_000, limits[1]))
        try:
            kept = [index for batch in loader for index in batch.indexes.tolist()]
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        print(name, kept, *loader.skipped.values())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS and /proc")
def test_an_image_that_memory_does_not_hold_is_a_damaged_sample(tmp_path: Path) -> None:
    """A bitmap of 144 megapixels in a process that may take 400 MB more: it is named with its size, and skipped."""
    folder = tmp_path / "photos" / "a"
    folder.mkdir(parents=True)
    Image.new("1", (12_000, 12_000)).save(folder / "large.png")
    for number in range(3):
        Image.new("RGB", (40, 30), (9, 99, 199)).save(folder / f"small{number}.jpg")
    prepare_imagefolder([tmp_path / "photos"], tmp_path / "data")
    names = ["imagefolder", "threaded"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SHORT, str(tmp_path / "data"), *names], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(names)
    for name, line in zip(names, lines, strict=True):
        assert line.startswith(f"{name} [1, 2, 3] ")
        assert "large.png: its 12000 x 12000 pixels need 0.43 GB, and the system has no memory for them" in line
