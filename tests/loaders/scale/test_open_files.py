"""The number of shards is not limited by the number of files that a process may open."""

import shutil
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from feedline.loaders import LoaderSpec, open_loader
from feedline.loaders.support import shard_samples
from feedline.loaders.support.shard_samples import ShardSamples
from feedline.prep import SHARDS, ShardSpec, read_shard_manifest, write_shards

from ..contract import require_loader

needs_limit = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on open files")
FILES = 56  # that the process may open; Python, torch and their libraries have up to 30 open
LIMITED = f"""
import resource, sys
from feedline.cli.main import run
from feedline.loaders import LoaderSpec, open_loader
from feedline.loaders.table import prepare_loader
if __name__ == "__main__":
    name, root, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    prepare_loader(name)
    resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
    spec = LoaderSpec(root=root, batch_size=84, image_size=32, workers=workers)
    with open_loader(name, spec) as loader:
        for epoch in range(2):
            assert sum(len(labels) for _, labels in loader) == 84
        assert loader.dataset[83][0].shape == (3, 32, 32)
        assert len(set(key for batch in loader for key in batch.keys)) == 84
    assert run(["verify", root]) == 0
"""


@pytest.fixture(scope="module")
def many_shards(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """84 samples in 66 shards, more than the process may open files."""
    copy = tmp_path_factory.mktemp("many") / "data"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(SHARDS))
    write_shards(copy, ShardSpec(seed=3, shard_count=84, splits=("train",)))
    assert len(read_shard_manifest(copy / SHARDS).splits["train"].shards) > FILES
    return copy


@needs_limit
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "workers"), [("threaded", 0), ("threaded", 2), ("dali", 2), ("webdataset", 0), ("cached", 0)]
)
def test_more_shards_than_open_files(name: str, workers: int, many_shards: Path) -> None:
    """A batch of all shards, two epochs, the view, keys and verify, in a process with a low limit."""
    require_loader(name)
    command = [sys.executable, "-c", LIMITED, name, str(many_shards), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


EXHAUSTED = """
import os, resource, sys
from dataclasses import replace
from pathlib import Path
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import FeedlineError
from feedline.prep.shards.index import read_index
name, root, when = sys.argv[1:]
spec = LoaderSpec(root=root, batch_size=2, image_size=32, on_error="skip")
shard = sorted(Path(root, "shards").glob("*.tar"))[0]
with open_loader(name, spec) as other:  # imports what it needs
    list(other)
loader = open_loader(name, replace(spec, workers=2 if when == "starting workers" else 0))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
try:
    read_index(shard) if when == "opening" else list(loader)
except FeedlineError as error:
    for descriptor in held:
        os.close(descriptor)
    print(f"{type(error).__name__}: {error}")
"""


@needs_limit
@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("threaded", "reading"),
        ("threaded", "opening"),
        ("imagefolder", "reading"),
        ("imagefolder", "starting workers"),
        ("webdataset", "reading"),
    ],
)
def test_the_error_names_the_limit_and_the_way_out(name: str, when: str, root: Path) -> None:
    """Not damage of the sample, which on_error="skip" would skip, and not an index to rebuild."""
    command = [sys.executable, "-c", EXHAUSTED, name, str(root), when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "this process may open 64 files, and has them open; close some, or raise the limit before" in done.stdout
    assert done.stdout.startswith("DatasetError" if when == "opening" else "LoaderError"), done.stderr
    assert done.stdout.rstrip().endswith("ulimit -n 4096")
    assert "skipped" not in done.stderr


def test_a_shard_that_leaves_the_cache_stays_mapped_while_it_is_read(
    many_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for two shards, eight threads read the bytes of all, and a batch holds its own mappings."""
    with closing(ShardSamples(many_shards, "train")) as samples:
        expected = [samples.read(index).data.tobytes() for index in range(84)]
    monkeypatch.setattr(shard_samples, "MOST_MAPPED", 2)
    with closing(ShardSamples(many_shards, "train")) as samples:
        located = samples.locate(np.arange(84))
        wrong: list[int] = []

        def read(seed: int) -> None:
            for index in np.random.default_rng(seed).permutation(84).tolist() * 3:
                data = samples.read(index).data
                samples.count_touched(np.array([index]), 20_000_000)
                if data.tobytes() != expected[index]:
                    wrong.append(index)

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert len({id(mapped) for mapped in located.holds[:-1]}) > FILES
        view = samples.read(3).data
    assert view.tobytes() == expected[3]  # also after the close
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_an_epoch_with_fewer_mappings_than_shards(many_shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same samples as with all."""
    spec = LoaderSpec(root=many_shards, batch_size=10, image_size=32, workers=2)
    with open_loader("threaded", spec) as loader:
        whole = [batch.images.numpy().tobytes() for batch in loader]
    monkeypatch.setattr(shard_samples, "MOST_MAPPED", 3)
    with open_loader("threaded", spec) as loader:
        assert [batch.images.numpy().tobytes() for batch in loader] == whole
