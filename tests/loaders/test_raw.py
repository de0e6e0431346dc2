"""Raw shards: every loader that reads shards yields the samples of the encoded images, and damage is damage."""

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from feedline.loaders import Loader, LoaderSpec, open_loader, open_stages, readable_loaders
from feedline.loaders.pixels import ready
from feedline.prep import SHARDS, DatasetError, SampleError, ShardSpec, write_shards
from feedline.prep.archives import npy
from feedline.prep.shards.index import read_index
from feedline.prep.shards.writing import shard

from .contract import RAW, raw_root, require_loader, spec_of

NAMES = [name.partition(",")[0] for name in RAW]
LEVELS = {"threaded": 1, "webdataset": 0}  # of difference from Pillow; DALI's at the border of its crops: see its docs


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Every installed loader that reads shards."""
    return require_loader(request.param)


@pytest.fixture
def raw(root: Path, tmp_path: Path) -> Path:
    """A root of raw shards, to be changed."""
    return Path(shutil.copytree(raw_root(root), tmp_path / "raw"))


def images_of(loader: Loader) -> dict[int, torch.Tensor]:
    with closing(loader):
        return {i: image for batch in loader for i, image in zip(batch.indexes.tolist(), batch.images, strict=True)}


@pytest.mark.parametrize("transform", ["train", "eval"])
def test_samples_are_those_of_the_encoded_images(name: str, transform: str, root: Path) -> None:
    """Crops, flips and pixels: they are Pillow's within a level, and within the borders of DALI's."""
    reference = images_of(open_loader("imagefolder", spec_of(root, transform=transform)))
    found = images_of(open_loader(name, spec_of(raw_root(root), transform=transform)))

    assert found.keys() == reference.keys()
    differences = torch.stack([(found[i].int() - reference[i].int()).abs() for i in reference])
    if name in LEVELS:
        assert differences.max() <= LEVELS[name]
    else:
        assert differences[:, :, 1:-1, 1:-1].max() <= 1


@pytest.mark.parametrize("transform", ["train", "eval"])
def test_the_compiled_code_and_what_comes_before_it_agree(
    transform: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the decoder is compiled, Pillow resizes the same pixels to the same samples."""
    spec = spec_of(raw_root(root), transform=transform)
    compiled = images_of(open_loader("threaded", spec))
    monkeypatch.setattr(ready, "usable", lambda: False)
    before = images_of(open_loader("threaded", spec))

    assert all(torch.equal(compiled[i], before[i]) for i in compiled)


def first_image(root: Path) -> tuple[Path, int]:
    """Return the first shard of train, and where its first image lies."""
    path = min((root / SHARDS).glob("*-train-*.tar"))
    return path, int(read_index(path).samples["offset"][0])


HEADERS = {
    "no array": b"not an array at all ",
    "another shape": npy.header(1, 1),
    "objects": npy.header(9, 9).replace(b"|u1", b"|O8"),
    "a longer header": b"\x93NUMPY\x02\0\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_damaged_header_is_raised_or_skipped(name: str, header: str, raw: Path) -> None:
    """As every damaged image: one sentence with its name, or a batch that is one smaller."""
    path, offset = first_image(raw)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(HEADERS[header])

    with (
        closing(open_loader(name, spec_of(raw))) as loader,
        pytest.raises(SampleError, match=r"cannot decode .*n\d{8}_"),
    ):
        list(loader)
    loader = open_loader(name, spec_of(raw, on_error="skip"))
    assert len(images_of(loader)) == 83
    assert len(loader.skipped) == 1


def test_an_index_that_does_not_fit_reads_nothing_else(raw: Path) -> None:
    """A larger size in the index than in the header must not read the next member as pixels."""
    path, _ = first_image(raw)
    index = path.with_suffix(".index")
    data = bytearray(index.read_bytes())
    rows = read_index(path).samples
    start = data.index(rows[0].tobytes())
    changed = rows[:1].copy()
    changed["width"] *= 2
    data[start : start + rows.itemsize] = changed.tobytes()
    del rows
    index.write_bytes(data)
    expected = images_of(open_loader("webdataset", spec_of(raw)))
    found = images_of(open_loader("threaded", spec_of(raw)))

    assert all((found[i].int() - expected[i].int()).abs().max() <= 1 for i in expected)


def test_encoded_and_raw_images_in_one_shard(root: Path, name: str, tmp_path: Path) -> None:
    """What has no pixels passes through when raw shards are written, and stands among them."""
    calls, real = [0], shard.encode_image

    def every_third_as_it_is(data: bytes, spec: ShardSpec) -> object:
        calls[0] += 1
        return real(data, ShardSpec(encode="restart") if calls[0] % 3 == 0 else spec)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "encode_image", every_third_as_it_is)
        write_shards(root, ShardSpec(seed=3, encode="raw"), out=tmp_path / SHARDS, workers=1)
    reference = images_of(open_loader(name, spec_of(root, shuffle=False)))
    found = images_of(open_loader(name, spec_of(tmp_path, shuffle=False)))

    assert found.keys() == reference.keys()
    differences = torch.stack([(found[i].int() - reference[i].int()).abs() for i in reference])
    assert differences[:, :, 1:-1, 1:-1].max() <= 1


def test_stages_of_raw_images(root: Path) -> None:
    """bench and diagnose time what the loader does: the same sample, without a decoder."""
    spec = LoaderSpec(root=raw_root(root), transform="eval", image_size=32)
    for name in ("threaded", "webdataset"):
        stages = open_stages(name, spec)
        assert stages is not None
        with closing(stages):
            decoded = stages.decode(stages.fetch(0), [])
            row = torch.empty((32, 32, 3), dtype=torch.uint8)
            stages.transform(decoded, [], row)


def test_who_can_read_them(root: Path) -> None:
    """A folder loader has nothing to read, and says what it needs."""
    found = readable_loaders(raw_root(root))

    assert "imagefolder" not in found
    assert {"webdataset", "threaded", "cached"} <= set(found)
    with pytest.raises(DatasetError, match=r"no manifest\.json"):
        open_loader("imagefolder", spec_of(raw_root(root)))


def test_a_view_of_one_sample(root: Path) -> None:
    """``loader.dataset[i]`` shows an image of raw shards too."""
    with closing(open_loader("threaded", spec_of(raw_root(root), transform="eval"))) as loader:
        image, label = loader.dataset[3]

    assert image.shape == (3, 32, 32)
    assert isinstance(label, int)
    assert np.asarray(image).any()
