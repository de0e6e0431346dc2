"""Shards written by a Ray cluster are those that threads write."""

import os
import signal
import subprocess
import sys
import threading
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
    silent,
    write_shards,
    write_synthetic,
)

from ...s3 import SECRET, objects_below, put_folder, serving_s3

pytestmark = pytest.mark.slow  # starting a cluster takes seconds
SHARDS = 12
QUICK = {"health_check_period_ms": 500, "health_check_timeout_ms": 2000, "health_check_failure_threshold": 2}
"""How soon the cluster sees that a node is dead."""
SPEC = ShardSpec(shard_count=SHARDS // 2)  # of each of two splits


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared root of 100 + 20 images."""
    place = tmp_path_factory.mktemp("ray")
    write_synthetic(place / "archives", SyntheticSpec(layout="ilsvrc2012", classes=4, images_per_class=25, seed=3))
    prepare_imagenet([place / "archives"], place / "data")
    return place / "data"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 server with the bucket ``bucket``; the cluster's machines have its address and credentials."""
    with serving_s3() as files:
        yield files


@pytest.fixture(scope="module")
def nodes(s3: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Ray cluster of three nodes with one CPU each, and a folder for temporary files for each; this process joined.

    The object stores are small: shards do not pass through them.
    """
    ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'feedline[ray]'")
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    first = {"include_dashboard": False, "_system_config": QUICK}
    for number in range(3):
        temporary = str(tmp_path_factory.mktemp(f"node{number}"))
        settings = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "env_vars": {"TMPDIR": temporary}}
        nodes.add_node(wait=not number, **settings, **({} if number else first))
    nodes.wait_for_nodes()
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(scope="module")
def cluster(nodes: Any) -> Any:
    """Ray, which has joined the cluster."""
    import ray

    return ray


@pytest.fixture(scope="module")
def far_root(root: Path, s3: Any) -> str:
    """The URL of the prepared root."""
    return put_folder(s3, root, "data")


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that threads write."""
    out = tmp_path_factory.mktemp("whole") / "shards"
    write_shards(root, SPEC, out=out)
    return contents(out)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_ray_writes_the_bytes_that_threads_write(
    root: Path, cluster: Any, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Shards, indexes and manifest, whatever the workers; progress is told every sample."""
    told: list[tuple[str, int, int]] = []
    write_shards(root, SPEC, out=tmp_path / "ray", engine="ray", progress=lambda *step: told.append(step))
    write_shards(root, SPEC, out=tmp_path / "one", engine="ray", workers=1)

    assert contents(tmp_path / "ray") == whole
    assert contents(tmp_path / "one") == whole
    assert told[-1][1] == told[-1][2] > 100


def test_a_task_that_fails_is_one_clear_error(
    root: Path, cluster: Any, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """The error is the task's own, not Ray's; the finished shards are kept and the run can be continued."""
    image = next((root / "train").rglob("*.JPEG"))
    data = image.read_bytes()
    plan_is_made: list[None] = []

    def cut(step: str, done: int, total: int) -> None:
        if not plan_is_made:  # the first sign of progress comes when the headers have been listed
            plan_is_made.append(None)
            image.write_bytes(data[:-1])

    try:
        with pytest.raises(DatasetError, match="changed while it was read") as caught:
            write_shards(root, SPEC, out=tmp_path / "out", engine="ray", workers=1, progress=cut)
    finally:
        image.write_bytes(data)
    assert "Traceback" not in str(caught.value)
    assert not (tmp_path / "out" / "manifest.json").exists()

    write_shards(root, SPEC, out=tmp_path / "out")
    assert contents(tmp_path / "out") == whole


def test_without_ray_the_command_says_what_to_install(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, exit code 1."""
    monkeypatch.setitem(sys.modules, "ray", None)

    assert run(["shard", str(root), "--out", str(tmp_path / "out"), "--engine", "ray"]) == 1
    assert "pip install 'feedline[ray]'" in capsys.readouterr().err


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


def test_nodes_read_and_write_urls_and_one_that_is_killed_loses_nothing(
    far_root: str, s3: Any, nodes: Any, whole: dict[str, bytes]
) -> None:
    """A node dies while it writes a shard; others write it again. The objects are the files that threads write."""
    lost = next(iter(nodes.worker_nodes))
    use(lost)
    temporary, told = Path(lost._ray_params.env_vars["TMPDIR"]), list[int]()
    ended = threading.Event()

    def kill() -> None:
        while not list(temporary.glob("feedline-shard-*/.partial/*.tar")) and not ended.wait(0.005):
            pass
        if not ended.is_set():
            nodes.remove_node(lost, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        write_shards(
            far_root, SPEC, out="s3://bucket/shards", engine="ray", progress=lambda *step: told.append(step[1])
        )
    finally:
        ended.set()
        killer.join()

    assert lost not in nodes.worker_nodes
    assert told[-1] > 100
    assert objects_below(s3, "s3://bucket/shards") == whole


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_driver_that_is_killed_continues_behind_the_url(
    far_root: str, s3: Any, cluster: Any, whole: dict[str, bytes]
) -> None:
    """kill -9 of the command after some shards; the next run keeps those, and its output has no credentials."""
    out = "s3://bucket/killed"
    command = [sys.executable, "-c", "from feedline.cli.main import main; main()", "shard", far_root, "--out", out]
    driver = subprocess.Popen(
        [*command, "--shard-count", str(SHARDS // 2), "--engine", "ray", "--workers", "1"],
        env={**os.environ, "RAY_ADDRESS": cluster.get_runtime_context().gcs_address},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not notes(s3, out):
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        driver.send_signal(signal.SIGKILL)
        _, said = driver.communicate()
    assert "manifest.json" not in objects_below(s3, out)
    written = {name: s3.info(f"bucket/killed/{name}")["LastModified"] for name in notes(s3, out)}

    write_shards(far_root, SPEC, out=out, engine="ray", progress=silent)
    found = objects_below(s3, out)
    assert found == whole
    assert all(s3.info(f"bucket/killed/{name}")["LastModified"] == time for name, time in written.items())
    assert SECRET not in said
    assert not any(SECRET.encode() in data for data in found.values())


def use(node: Any) -> None:
    """Let a node run something, so that its process has started, however busy the machine is."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
    ray.get(ray.remote(num_cpus=1)(lambda number: number).options(scheduling_strategy=there).remote(1))


def notes(files: Any, url: str) -> list[str]:
    """Return the names of the shards that have a note, which is written when they are uploaded."""
    found = [name for name in objects_below(files, url) if name.startswith(".partial/") and name.endswith(".tar.json")]
    return [name.removeprefix(".partial/").removesuffix(".json") for name in found]
