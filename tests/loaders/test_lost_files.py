"""Shards and manifests that are cut, gone or replaced while a loader is open."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedline.loaders import LOADERS, open_loader
from feedline.loaders.support.shard_samples import ShardSamples
from feedline.prep import (
    MANIFEST,
    SHARDS,
    DatasetError,
    LoaderError,
    SampleError,
    ShardSpec,
    read_manifest,
    read_shard_manifest,
    write_document,
    write_shards,
)
from feedline.prep.shards.index import read_index

from .contract import COVERING, DCT, GPU, PLANAR, open_named, require_loader, spec_of

OF_SHARDS = [*(name for name in COVERING if LOADERS[name].needs != "folders"), DCT, GPU, PLANAR]
SAMPLES = 84
TOP = Path(__file__).resolve().parents[2]
LINUX = sys.platform == "linux" and sys.maxsize > 2**32

# A loader has mapped and decoded every shard. Then the longest is cut to its first page, and an epoch reads all of it.
CUT = """
import json, logging, os, sys
from pathlib import Path
from feedline.loaders.pixels import ready
from feedline.prep import SampleError
from tests.loaders.contract import open_named, spec_of

logging.disable()
ready.prepare()
found = {}
for name in json.loads(sys.argv[2]):
    for on_error in ("raise", "skip"):
        root = Path(sys.argv[1]) / f"{len(found)}"
        shard = max((root / "shards").glob("*-train-*.tar"), key=lambda path: path.stat().st_size)
        with open_named(name, spec_of(root, workers=0, on_error=on_error, transform="eval")) as loader:
            whole = {index: image for batch in loader for index, image in zip(batch.indexes.tolist(), batch.images)}
            os.truncate(shard, 4096)
            kept, text = {}, ""
            try:
                for batch in loader:
                    kept |= dict(zip(batch.indexes.tolist(), batch.images))
            except SampleError as error:
                text = str(error)
            # Pillow decodes again what DALI may have decoded from zeros, which differs by up to 16 levels.
            same = [index for index, image in kept.items() if (image.int() - whole[index].int()).abs().max() <= 16]
            found[f"{name}, {on_error}"] = text, len(kept), len(same), dict(loader.skipped), str(shard)
print(json.dumps(found))
"""


@pytest.mark.skipif(not LINUX, reason="elsewhere the size is compared before each use")
def test_a_shard_that_is_cut_while_it_is_mapped_is_a_sample_error(root: Path, tmp_path: Path) -> None:
    """Not a bus error: the sample and its shard are named with both sizes; skipping loses that shard's samples only."""
    names = []
    for name in OF_SHARDS:
        try:
            names.append(require_loader(name))
        except pytest.skip.Exception:
            continue
    for number in range(2 * len(names)):
        shutil.copytree(root / SHARDS, tmp_path / f"{number}" / SHARDS)
    command = [sys.executable, "-c", CUT, str(tmp_path), json.dumps(names)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=TOP)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)

    for name in names:
        text, *_, shard = found[f"{name}, raise"]
        expected = next(
            held.bytes
            for split in read_shard_manifest(root / SHARDS).splits.values()
            for held in split.shards
            if held.name == Path(shard).name
        )
        assert f"has 4096 bytes instead of the {expected} that its manifest lists" in text, name
        assert shard in text, name
        assert "check the data with: feedline verify" in text, name
        text, kept, same, skipped, shard = found[f"{name}, skip"]
        if name == "webdataset":  # which reads a shard from front to back, and loses the rest of its stream
            assert "has 4096 bytes instead of" in text
            continue
        assert text == ""
        assert kept == same == SAMPLES - len(skipped), name
        assert 0 < len(skipped) < 60, name
        assert all(shard in reason for reason in skipped.values()), name


# How others install a handler of bus errors after ours.
OTHERS = {
    "none": "",
    "Python": "import faulthandler; faulthandler.disable(); faulthandler.enable()",
    "Ray": "import ray; ray.init(num_cpus=1, include_dashboard=False)",
}
TAKEN = """
import os, sys
from pathlib import Path
from feedline.prep import SampleError
from tests.loaders.contract import open_named, spec_of

root = Path(sys.argv[1])
with open_named("threaded", spec_of(root, workers=0, transform="eval")) as loader:
    list(loader)
    OTHER
    for shard in (root / "shards").glob("*-train-*.tar"):
        os.truncate(shard, 4096)
    try:
        list(loader)
    except SampleError as error:
        print(error)
"""

FOREIGN = """
import mmap, os, sys
from feedline.loaders.support import bus_errors
from feedline.prep.base.mapping import MappedFile
from pathlib import Path
path = Path(sys.argv[1])
assert bus_errors.catch()
OTHER
assert bus_errors.catch()
ours = MappedFile(path)
with path.open("rb") as file:
    theirs = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
os.truncate(path, 0)
print(int(ours.data.sum()), bus_errors.count(), flush=True)
theirs[0]
print("not reached")
"""


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest) -> str:
    """The statement with which another library installs its handler."""
    if not LINUX:
        pytest.skip("the handler is for 64-bit Linux")
    if request.param == "Ray":
        pytest.importorskip("ray")
    return OTHERS[request.param]


def test_a_cut_shard_is_a_sample_error_when_another_library_took_the_signal(
    other: str, root: Path, tmp_path: Path
) -> None:
    """As ``ray.init`` does, whose handler ends the process."""
    shutil.copytree(root / SHARDS, tmp_path / SHARDS)
    command = [sys.executable, "-c", TAKEN.replace("OTHER", other), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=TOP)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "has 4096 bytes instead of the" in done.stdout


def test_bus_errors_of_other_mappings_are_left_to_their_handlers(other: str, tmp_path: Path) -> None:
    """Zeros in the memory of others would be damage without a word, as of a full /dev/shm."""
    path = tmp_path / "file"
    path.write_bytes(b"\1" * 4096)
    command = [sys.executable, "-c", FOREIGN.replace("OTHER", other), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert done.returncode == -signal.SIGBUS, done.stderr
    assert done.stdout.splitlines()[-1] == "0 1"
    if other:  # Ray turns Python's on as well
        assert "Fatal Python error: Bus error" in done.stderr


@pytest.fixture(params=OF_SHARDS)
def shard_name(request: pytest.FixtureRequest) -> str:
    """Every installed loader that reads shards."""
    return require_loader(request.param)


@pytest.fixture(params=COVERING)
def name(request: pytest.FixtureRequest) -> str:
    """Every installed loader of the table."""
    return require_loader(request.param)


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of the prepared root and its shards."""
    return Path(shutil.copytree(root, tmp_path / "data"))


def test_shards_that_are_gone_are_named(shard_name: str, copy: Path) -> None:
    """As on a share that is unmounted between the opening and the first batch."""
    with closing(open_named(shard_name, spec_of(copy, workers=0))) as loader:
        for shard in (copy / SHARDS).glob("*-train-*.tar"):
            shard.rename(shard.with_suffix(".gone"))
        with pytest.raises(SampleError, match=r"No such file.*feedline verify"):
            list(loader)


def test_a_shard_of_another_size_is_not_read(shard_name: str, copy: Path) -> None:
    """The index says where its samples lay; a folder that was swapped for another has them elsewhere."""
    with closing(open_named(shard_name, spec_of(copy, workers=0))) as loader:
        for shard in (copy / SHARDS).glob("*-train-*.tar"):
            shard.write_bytes(shard.read_bytes() + bytes(512))
        with pytest.raises(SampleError, match=r"bytes instead of the \d+ that its manifest lists"):
            list(loader)


def test_other_data_under_an_open_loader_are_noticed_at_the_next_epoch(name: str, copy: Path) -> None:
    """A manifest that says the same, or something new of another split only, changes nothing."""
    of_shards = LOADERS[name].needs != "folders"
    with closing(open_loader(name, spec_of(copy, workers=0))) as loader:
        first = [batch.indexes.tolist() for batch in loader]
        if of_shards:
            path, manifest = copy / SHARDS / MANIFEST, read_shard_manifest(copy / SHARDS)
        else:
            path, manifest = copy / MANIFEST, read_manifest(copy)
        splits = {name: held for name, held in manifest.splits.items() if name != "val"}
        write_document(path, replace(manifest, splits=splits))  # pyright: ignore[reportArgumentType]
        loader.set_epoch(0)
        assert [batch.indexes.tolist() for batch in loader] == first

        if of_shards:
            shutil.rmtree(copy / SHARDS)
            write_shards(copy, ShardSpec(seed=4))
        else:
            write_document(path, replace(manifest, classes=manifest.classes[::-1]))
        with pytest.raises(LoaderError, match=r"was written again since this loader was opened.*open the loader again"):
            list(loader)
        path.unlink()
        with pytest.raises(LoaderError, match=r"cannot be read any more.*bring the data set back"):
            list(loader)


@pytest.mark.parametrize("change", ["cut", "in place", "replaced"])
def test_an_index_that_is_written_again_under_an_open_loader_is_noticed_at_the_next_epoch(
    change: str, copy: Path
) -> None:
    """A copy of it with the same bytes, and one that is gone, change nothing: what is mapped stays as it was."""
    paths = sorted((copy / SHARDS).glob("*-train-*.index"))
    with closing(open_loader("threaded", spec_of(copy, workers=0))) as loader:
        first = [batch.labels.tolist() for batch in loader]
        shutil.copy(paths[0], copy / "index")
        (copy / "index").replace(paths[0])
        paths[1].rename(copy / "gone")
        loader.set_epoch(0)
        assert [batch.labels.tolist() for batch in loader] == first

        (copy / "gone").replace(paths[1])
        data = paths[1].read_bytes()
        if change == "replaced":
            paths[1].unlink()
        if change == "cut":
            os.truncate(paths[1], len(data) // 2)
        else:
            paths[1].write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(LoaderError, match=rf"{paths[1].name} was cut or written again.*open the loader again"):
            list(loader)


def test_rows_that_lead_outside_their_files_are_not_followed(copy: Path) -> None:
    """An index that is overwritten in place in the middle of an epoch has other rows at once."""
    for name, value in (("offset", 2**63), ("offset", 2**40), ("size", 2**31), ("rows", 2**20)):
        with closing(ShardSamples(copy, "train")) as samples:
            (path, *_) = (copy / SHARDS).glob("*-train-*.index")
            data, rows = path.read_bytes(), read_index(path.with_suffix(".tar")).samples.copy()
            rows[name] = value
            begin = data.index(b"\n") + 1
            with path.open("r+b") as file:
                file.seek(begin)
                file.write(rows.tobytes())
            with pytest.raises(DatasetError, match=rf"{path.name} points outside .*--index-only"):
                samples.locate(np.arange(len(samples)))
            path.write_bytes(data)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses to cut a mapped file")
def test_an_index_that_is_cut_in_the_middle_of_an_epoch_gives_no_other_label(copy: Path) -> None:
    """At any byte of a row: up to the end of the page all that follows becomes zeros, and 0 is a class."""
    path = max((copy / SHARDS).glob("*-train-*.index"))
    data, rows = path.read_bytes(), read_index(path.with_suffix(".tar")).samples
    row = next(number for number, label in enumerate(rows["label"].tolist()) if label)
    begin = data.index(b"\n") + 1 + row * rows.itemsize
    readers: tuple[Callable[[ShardSamples], list[Any]], ...] = (
        lambda samples: samples.labels_of(np.arange(len(samples))).tolist(),
        lambda samples: [samples.key(index) for index in range(len(samples))],
        lambda samples: samples.labels.tolist(),
    )
    with closing(ShardSamples(copy, "train")) as samples:
        expected = [read(samples) for read in readers]
    raised = 0
    for cut in range(begin, begin + rows.itemsize):
        path.write_bytes(data)
        with closing(ShardSamples(copy, "train")) as samples:
            os.truncate(path, cut)
            for read, wanted in zip(readers, expected, strict=True):
                try:
                    assert read(samples) == wanted
                except LoaderError as error:
                    assert f"{path.name} was cut or written again" in str(error)
                    raised += 1
    assert raised > rows.itemsize


def test_places_that_no_sample_has_are_refused(root: Path) -> None:
    """Rows are read by their address."""
    with closing(ShardSamples(root, "train")) as samples:
        for index in (-1, len(samples), 2**40):
            with pytest.raises(IndexError):
                samples.locate(np.array([0, index]))
            with pytest.raises(IndexError):
                samples.labels_of(np.array([index]))
