"""The shards in the hands of the readers that people have: the count, the labels and the pixels are the source's.

Each test runs the real library of the extra "interop".
"""

import gc
import os
import shutil
import subprocess
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from feedline.prep import (
    ShardManifest,
    ShardSpec,
    SyntheticSpec,
    find_samples,
    read_shard_manifest,
    verify,
    write_shards,
    write_synthetic,
)
from feedline.prep.roots.samples import SampleReader

# Their warnings are theirs: deprecated calls, files left open.
pytestmark = pytest.mark.filterwarnings("ignore")

# webdataset's opener, which timm uses too, takes the drive letter of a Windows path for a URL scheme.
needs_posix_paths = pytest.mark.skipif(os.name == "nt", reason="webdataset cannot open Windows paths")

Truth = dict[str, tuple[int, bytes]]  # key: (label, RGB pixels with their size)


@pytest.fixture(scope="module")
def plain_archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of ordinary images alone: what a reader makes of a PNG named .JPEG is not the shards' affair."""
    out = tmp_path_factory.mktemp("plain")
    write_synthetic(out, SyntheticSpec(layout="ilsvrc2012", classes=3, images_per_class=9, seed=5, scale=0.25))
    return out


@pytest.fixture(scope="module")
def shards(plain_archives: Path) -> Path:
    """Shards with restart markers, straight from the archives, two of each split."""
    write_shards(plain_archives, ShardSpec(shard_count=2))
    return plain_archives / "shards"


@pytest.fixture(scope="module")
def truth(plain_archives: Path) -> Truth:
    """What the archives hold in split train."""
    with SampleReader() as reader:
        samples = find_samples(plain_archives, ["train"]).splits["train"]
        return {sample.key: (sample.label, pixels(reader.read(sample))) for sample in samples}


def pixels(data: Any) -> bytes:
    """Return an image's RGB pixels and size as bytes, from a file's bytes or a decoded image."""
    image = Image.open(BytesIO(data)) if isinstance(data, bytes) else data
    rgb = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    return repr(rgb.shape).encode() + rgb.tobytes()


def paths(shards: Path, manifest: ShardManifest | None = None) -> list[str]:
    manifest = manifest or read_shard_manifest(shards)
    return [str(shards / shard.name) for shard in manifest.splits["train"].shards]


def unkeyed(pairs: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return the samples in an order that needs no key, for readers that drop it."""
    return sorted(pairs)


def test_verify_passes_them(shards: Path) -> None:
    """Our own check, decoding included, finds nothing."""
    assert verify(shards, decode=True).problems == ()


@needs_posix_paths
def test_webdataset(shards: Path, truth: Truth) -> None:
    """webdataset.WebDataset with nothing but its own API."""
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    read = {
        sample["__key__"]: (int(sample["cls"]), pixels(sample["jpg"]))
        for sample in webdataset.WebDataset(paths(shards), shardshuffle=False)
    }
    gc.collect()  # the library leaves its files open

    assert read == truth


def test_dali_by_its_index(shards: Path, truth: Truth) -> None:
    """DALI's CPU pipeline, told of the .idx files, decodes the same pixels."""
    dali = pytest.importorskip("nvidia.dali", reason='DALI is not installed: pip install "feedline[interop]" on Linux')

    @dali.pipeline_def(batch_size=len(truth), num_threads=1, device_id=None, prefetch_queue_depth=1)
    def pipeline() -> tuple[Any, Any]:
        jpg, cls = dali.fn.readers.webdataset(
            paths=paths(shards),
            index_paths=[str(Path(path).with_suffix(".idx")) for path in paths(shards)],
            ext=["jpg", "cls"],
            missing_component_behavior="error",
            name="reader",
        )
        return dali.fn.decoders.image(jpg, device="cpu", output_type=dali.types.RGB), cls

    built = pipeline()
    built.build()
    images, labels = built.run()
    read = [(int(bytes(labels.at(i))), pixels(np.array(images.at(i)))) for i in range(len(truth))]

    assert built.epoch_size("reader") == len(truth)
    assert unkeyed(read) == unkeyed(truth.values())


@needs_posix_paths
def test_timm_by_its_info(shards: Path, truth: Truth) -> None:
    """timm's wds reader finds both splits in _info.json, under the names that timm's scripts use."""
    data = pytest.importorskip("timm.data", reason='timm is not installed: pip install "feedline[interop]"')
    read = [(label, pixels(image)) for image, label in data.create_dataset("wds/x", root=str(shards), split="train")]
    validation = data.create_dataset("wds/x", root=str(shards), split="validation")
    gc.collect()

    assert unkeyed(read) == unkeyed(truth.values())
    assert len(list(validation)) == read_shard_manifest(shards).splits["val"].samples


def test_hugging_face(shards: Path, truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """load_dataset("webdataset"): one table, its json column inferred, without a network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason='datasets is not installed: pip install "feedline[interop]"')
    files = {"train": paths(shards)}
    table = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path))
    rows = list(table)

    assert {row["__key__"]: (row["cls"], pixels(row["jpg"])) for row in rows} == truth
    assert {(row["json"]["width"], row["json"]["height"]) == row["jpg"].size for row in rows} == {True}
    assert {row["json"]["name"] for row in rows} == {key + ".JPEG" for key in truth}


@pytest.mark.skipif(os.name == "nt", reason="wids needs fcntl, which Windows has not")
def test_wids_by_its_index(shards: Path, truth: Truth, tmp_path: Path) -> None:
    """wids' random access over the index of a split."""
    wids = pytest.importorskip("wids", reason='wids is not installed: pip install "feedline[interop]"')
    index = shards / "imagenet-train.json"
    dataset = wids.ShardListDataset(str(index), cache_dir=str(tmp_path), keep=True)
    read = {row["__key__"]: (row[".cls"], pixels(row[".jpg"])) for row in (dataset[i] for i in range(len(dataset)))}
    dataset.close()

    assert read == truth


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar program on this machine")
def test_a_tar_program(shards: Path, truth: Truth, tmp_path: Path) -> None:
    """tar unpacks them without a murmur."""
    for path in paths(shards):
        done = subprocess.run(["tar", "-xf", path, "-C", str(tmp_path)], capture_output=True, text=True, check=True)
        assert done.stderr == ""

    read = {
        image.stem: (int(image.with_suffix(".cls").read_text()), pixels(image.read_bytes()))
        for image in tmp_path.glob("*.jpg")
    }
    assert read == truth
