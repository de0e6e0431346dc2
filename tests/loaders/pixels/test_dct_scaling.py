"""Decoding at 1/2, 1/4 and 1/8: chosen only where the crop allows, and true to the fraction of a pixel."""

import json
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given, strategies as st
from sklearn.datasets import load_sample_image

from feedline.benchmarks import read_record, read_records, tabulate
from feedline.cli.main import run as feedline
from feedline.loaders import LOADERS, LoaderSpec, open_loader
from feedline.loaders.pixels.crop_decoding import decode_into
from feedline.loaders.pixels.crops import draw_crops, train_crop
from feedline.loaders.pixels.dct_scaling import dct_scale, resize_scaled
from feedline.loaders.support.encoded import EncodedImage, Tiles
from feedline.prep import LoaderError
from feedline.prep.images.restart import add_restart_markers

CHINA = np.asarray(load_sample_image("china.jpg"))


def spec_of(**changes: object) -> LoaderSpec:
    return LoaderSpec(**{"root": Path("nowhere"), "image_size": 32, "dct_scaling": True, **changes})  # type: ignore[arg-type]


def tiled(subsampling: str) -> tuple[EncodedImage, EncodedImage]:
    """Return a photograph with its tiles, and the same without."""
    data, geometry = add_restart_markers(simplejpeg.encode_jpeg(CHINA, 90, "RGB", subsampling))
    array, per_row = np.frombuffer(data, np.uint8), geometry.columns // geometry.restart_interval
    lengths = np.diff(geometry.offsets[::per_row]).astype(np.uint16)
    size = (geometry.width, geometry.height, geometry.mcu_width, geometry.mcu_height, geometry.restart_interval)
    return EncodedImage(array, Tiles(int(geometry.offsets[0]), lengths, *size)), EncodedImage(array, None)


def decoded(image: EncodedImage, draws: list[float], spec: LoaderSpec) -> torch.Tensor:
    row = torch.empty((spec.image_size, spec.image_size, 3), dtype=torch.uint8)
    decode_into(row.numpy(), image, draws, spec)
    return row


@given(st.tuples(*[st.integers(1, 3000)] * 2), st.tuples(*[st.integers(1, 400)] * 2))
def test_a_crop_shrinks_only_as_far_as_it_stays_larger_than_the_sample(
    crop: tuple[int, int], target: tuple[int, int]
) -> None:
    """In both directions; and by no less than that."""
    scale = dct_scale((5, 7, *crop), target)

    assert scale in (1, 2, 4, 8)
    assert scale == 1 or all(side >= scale * wanted for side, wanted in zip(crop, target, strict=True))
    assert scale == 8 or min(crop) < 8 or any(c < 2 * scale * t for c, t in zip(crop, target, strict=True))


@given(
    st.sampled_from([2, 4, 8]),
    st.tuples(*[st.integers(0, 30)] * 2),
    st.tuples(*[st.integers(4, 9)] * 2),  # at most 30 + 3 * 8 * 9 pixels: the slope ends below 256
    st.data(),
)
def test_a_slope_stays_where_it_is(
    scale: int, start: tuple[int, int], size: tuple[int, int], data: st.DataObject
) -> None:
    """The crop may begin and end anywhere within a scaled pixel: each sample pixel has the slope's value at its centre.

    To within a tenth of a scaled pixel, because the triangle is sampled there, and rounding. Snapped to whole scaled
    pixels, this slope of 1 grey level per pixel would be off by up to half of one.
    """
    width, height = (data.draw(st.integers(scale * n, 3 * scale * n)) for n in size)
    columns, rows = (-(-(begin + length) // scale) for begin, length in zip(start, (width, height), strict=True))
    across, down = ((np.arange(n) + 0.5) * scale for n in (columns, rows))
    pixels = np.stack(np.broadcast_arrays(across, down[:, None], np.uint8(77)), -1).astype(np.uint8)
    out = np.empty((size[1], size[0], 3), np.uint8)
    resize_scaled(pixels, scale, (*start, width, height), size, (0, 0), out)
    inner = out[1:-1, 1:-1].astype(float)  # at the crop's edges the triangle is cut off

    x = start[0] + (np.arange(size[0]) + 0.5) * width / size[0]
    y = start[1] + (np.arange(size[1]) + 0.5) * height / size[1]
    assert np.abs(inner[:, :, 0] - x[1:-1]).max() <= 0.5 + scale / 10
    assert np.abs(inner[:, :, 1] - y[1:-1, None]).max() <= 0.5 + scale / 10
    assert (out[:, :, 2] == 77).all()


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_tiles_and_the_whole_image_give_the_same_pixels(subsampling: str, size: int) -> None:
    """Splice and scaling apply together: nothing outside of the tiles that are taken matters to a scaled pixel."""
    with_tiles, whole = tiled(subsampling)
    for draws in draw_crops(np.arange(40), seed=1, epoch=0).tolist():
        spec = spec_of(image_size=size)
        np.testing.assert_array_equal(decoded(with_tiles, draws, spec).numpy(), decoded(whole, draws, spec).numpy())


def test_images_that_do_not_allow_it_are_what_they_were() -> None:
    """A crop less than twice as large as the sample is decoded at full size, bit for bit as without the option."""
    image, _ = tiled("420")
    crops = draw_crops(np.arange(60), seed=2, epoch=0).tolist()
    small = [row for row in crops if min(train_crop(row, 640, 427)[2:4]) < 2 * 224]

    assert len(small) == 60
    for draws in small:
        scaled, full = (decoded(image, draws, spec_of(image_size=224, dct_scaling=on)) for on in (True, False))
        assert torch.equal(scaled, full)


@pytest.mark.parametrize("transform", ["train", "eval"])
def test_scaled_pixels_are_near_those_of_the_full_decode(transform: str) -> None:
    """Within 2 grey levels in the mean and 80 at most, where every crop is scaled; and they do differ."""
    image, _ = tiled("420")
    spec, exact = (spec_of(image_size=24, transform=transform, dct_scaling=on) for on in (True, False))
    errors = [
        (decoded(image, draws, spec).int() - decoded(image, draws, exact).int()).abs().float()
        for draws in draw_crops(np.arange(40), seed=3, epoch=0).tolist()
    ]

    assert 0 < torch.stack(errors).mean() < 2
    assert torch.stack(errors).max() <= 80


@pytest.mark.parametrize("name", [name for name, entry in LOADERS.items() if "dct_scaling" not in entry.abilities])
def test_loaders_that_cannot_scale_refuse(name: str, root: Path) -> None:
    """The message names the one that can."""
    with pytest.raises(LoaderError, match=f"{name} cannot do dct_scaling; choose one of: threaded"):
        open_loader(name, spec_of(root=root))


def test_scaling_on_the_gpu_is_refused() -> None:
    """nvJPEG's wrappers do not offer it."""
    with pytest.raises(LoaderError, match="either decode 'gpu' or dct_scaling"):
        spec_of(decode="gpu")


def test_bench_measures_it_and_records_it(root: Path, tmp_path: Path) -> None:
    """Without names, only the loaders that can; and a record from before the option reads as one without it."""
    words = ["bench", str(root), "--dct-scaling", "--image-size", "16", "--workers", "0"]
    assert feedline([*words, "--seconds", "0.2", "--repeats", "1", "--out", str(tmp_path / "bench")]) == 0
    (path,) = (tmp_path / "bench").glob("*.json")
    record = read_record(path)
    content = json.loads(path.read_text("utf-8"))
    for field in ("dct_scaling", "decode"):
        del content["config"][field]
    path.write_text(json.dumps(content))

    assert (record.loader, record.config.dct_scaling) == ("threaded", True)
    assert "--dct-scaling" in record.command
    assert (read_record(path).config.dct_scaling, read_record(path).config.decode) == (False, "cpu")


def test_scaled_and_exact_runs_are_not_compared(root: Path, tmp_path: Path) -> None:
    """They do other work: each has a table of its own, which says so."""
    words = ["bench", str(root), "--loader", "threaded", "--image-size", "16", "--workers", "0", "--repeats", "1"]
    for flags in ([], ["--dct-scaling"]):
        assert feedline([*words, *flags, "--seconds", "0.2", "--out", str(tmp_path / "bench")]) == 0
    exact, scaled = sorted(tabulate(read_records([tmp_path / "bench"])), key=lambda table: table.pixels)

    assert (exact.pixels, scaled.pixels) == ("16 px", "16 px, DCT-scaled")
    assert len(exact.rows) == len(scaled.rows) == 1


@pytest.mark.slow
def test_training_asks_for_it_and_records_it(root: Path, tmp_path: Path) -> None:
    """``--loader auto`` then takes the one that can; another one by name is refused in one sentence."""
    words = ["train", str(root), "--dct-scaling", "--image-size", "16", "--epochs", "1", "--batch-size", "16"]
    assert feedline([*words, "--workers", "0", "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))

    assert '"dct_scaling": true' in json.dumps(config)
    assert '"loader": "threaded"' in json.dumps(config)
    assert feedline([*words, "--loader", "imagefolder", "--device", "cpu", "--out", str(tmp_path / "other")]) == 1
