"""Shards written by a Ray cluster are those that threads write."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    OutputError,
    ShardSpec,
    SyntheticSpec,
    prepare_imagenet,
    write_shards,
    write_synthetic,
)

pytestmark = pytest.mark.slow  # starting a cluster takes seconds
SHARDS = 12
SPEC = ShardSpec(shard_count=SHARDS // 2)  # of each of two splits


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared root of 100 + 20 images."""
    place = tmp_path_factory.mktemp("ray")
    write_synthetic(place / "archives", SyntheticSpec(layout="ilsvrc2012", classes=4, images_per_class=25, seed=3))
    prepare_imagenet([place / "archives"], place / "data")
    return place / "data"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two CPUs on this machine, which this process has joined."""
    ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'feedline[ray]'")
    ray.init(num_cpus=2, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_ray_writes_the_bytes_that_threads_write(root: Path, cluster: Any, tmp_path: Path) -> None:
    """Shards, indexes and manifest, whatever the workers; progress is told every sample."""
    told: list[tuple[str, int, int]] = []
    write_shards(root, SPEC, out=tmp_path / "threads")
    write_shards(root, SPEC, out=tmp_path / "ray", engine="ray", progress=lambda *step: told.append(step))
    write_shards(root, SPEC, out=tmp_path / "one", engine="ray", workers=1)

    assert contents(tmp_path / "ray") == contents(tmp_path / "threads")
    assert contents(tmp_path / "one") == contents(tmp_path / "threads")
    assert told[-1][1] == told[-1][2] > 100


def test_a_task_that_fails_is_one_clear_error(root: Path, cluster: Any, tmp_path: Path) -> None:
    """The error is the task's own, not Ray's; the finished shards are kept and the run can be continued."""
    image = next((root / "train").rglob("*.JPEG"))
    data = image.read_bytes()
    plan_is_made: list[None] = []

    def cut(step: str, done: int, total: int) -> None:
        if not plan_is_made:  # the first sign of progress comes when the headers have been listed
            plan_is_made.append(None)
            image.write_bytes(data[:-1])

    write_shards(root, SPEC, out=tmp_path / "whole")
    try:
        with pytest.raises(DatasetError, match="changed while it was read") as caught:
            write_shards(root, SPEC, out=tmp_path / "out", engine="ray", workers=1, progress=cut)
    finally:
        image.write_bytes(data)
    assert "Traceback" not in str(caught.value)
    assert not (tmp_path / "out" / "manifest.json").exists()

    write_shards(root, SPEC, out=tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_without_ray_the_command_says_what_to_install(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, exit code 1."""
    monkeypatch.setitem(sys.modules, "ray", None)

    assert run(["shard", str(root), "--out", str(tmp_path / "out"), "--engine", "ray"]) == 1
    assert "pip install 'feedline[ray]'" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_is_continued_by_threads(root: Path, cluster: Any, tmp_path: Path) -> None:
    """kill -9 of the driver after some shards; then the other engine finishes, and the bytes are the same."""
    out = tmp_path / "out"
    feedline = [sys.executable, "-c", "from feedline.cli.main import main; main()"]
    command = [*feedline, "shard", str(root), "--out", str(out), "--shard-count", str(SHARDS // 2)]
    driver = subprocess.Popen(
        [*command, "--engine", "ray", "--workers", "1"],
        env={**os.environ, "RAY_ADDRESS": cluster.get_runtime_context().gcs_address},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("*.tar")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert not (out / "manifest.json").exists()

    write_shards(root, SPEC, out=out)
    write_shards(root, SPEC, out=tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_no_cluster_at_the_address_is_a_clear_error(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that nobody answers at is an OutputError with the next command."""
    ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'feedline[ray]'")

    def refuse(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nmore")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(OutputError, match="cannot join a Ray cluster: Could not find any running Ray instance"):
        write_shards(root, SPEC, out=tmp_path / "out", engine="ray")
