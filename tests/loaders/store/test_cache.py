"""The cache: whole shards only, whatever the store, the network or a kill does; and bounded."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from filelock import FileLock

from feedline.loaders import LoaderSpec, open_loader
from feedline.loaders.store import fetch
from feedline.loaders.store.cache import open_cache
from feedline.loaders.support.shard_samples import ShardSamples
from feedline.prep import LoaderError, StoreError
from feedline.prep.base.origins import held
from feedline.prep.store.access import Store
from feedline.prep.store.attempts import Attempts

from .epochs import epoch_of, leased, shards_in
from .servers import Fault, Server

SHARD = ".tar"


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut", "short", "corrupt"])
def test_a_fault_that_passes_changes_nothing(root: Path, server: Server, fault: str) -> None:
    """The first request for each shard fails, or has a damaged answer; the epoch is the local one all the same."""
    server.fault = lambda name, times: fault if times == 1 and name.endswith(SHARD) else None

    assert epoch_of(f"{server.url}/data") == epoch_of(root)
    assert len(server.requested(SHARD)) == 2 * len(set(server.requested(SHARD)))


@pytest.mark.parametrize("name", ["manifest.json", ".index"])
def test_documents_are_requested_again_too(root: Path, server: Server, name: str) -> None:
    """A store that is busy when the root is opened."""
    server.fault = lambda path, times: "503" if times == 1 and path.endswith(name) else None

    assert epoch_of(f"{server.url}/data") == epoch_of(root)


def test_a_server_without_ranges_serves_whole_shards(root: Path, server: Server) -> None:
    """As some simple servers do."""
    server.fault = lambda name, times: "whole"

    assert epoch_of(f"{server.url}/data") == epoch_of(root)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("corrupt", r"http://\S+000003.tar was fetched 3 times, and its sha256 is not the manifest's; upload"),
        ("404", r"http://\S+000003.tar is missing, and the manifest lists it; upload it again"),
        ("403", r"the store does not let this process read .* of http://\S+000003.tar \(HTTP status 403\)"),
    ],
)
@pytest.mark.parametrize("loader", ["threaded", "webdataset"])
def test_a_fault_that_lasts_is_named(server: Server, cache: Path, fault: str, message: str, loader: str) -> None:
    """The error names the shard and the next step, even if damaged samples are skipped; nothing wrong is kept."""
    server.fault = lambda name, times: fault if name.endswith("train-000003.tar") else None
    with pytest.raises(Exception, match=message) as raised:
        epoch_of(f"{server.url}/data", loader, on_error="skip")

    assert type(raised.value).__name__ in ("StoreError", "LoaderError")
    assert not list(cache.rglob("*000003.tar"))
    assert not list(cache.rglob("*.partial"))


@pytest.mark.parametrize("fault", ["503", "cut", "short"])
def test_attempts_are_bounded(server: Server, fault: Fault) -> None:
    """The error says how many there were."""
    server.fault = lambda name, times: fault
    store = Store(f"{server.url}/data", Attempts(most=3, first_wait=0.01))
    with pytest.raises(StoreError, match=r"cannot read bytes 0 to 8 of http://\S+ after 3 attempts: .+; check the net"):
        store.read_range("manifest.json", 0, 8)

    assert len(server.requests) == 3


def sums_of(manifest: Path) -> dict[str, str]:
    """Return {name: sha256} of the shards that a manifest lists."""
    splits = json.loads(manifest.read_text("utf-8"))["splits"].values()
    return {shard["name"]: shard["sha256"] for split in splits for shard in split["shards"]}


LOAD = """
import sys
from feedline.loaders import LoaderSpec, open_loader
loader = open_loader("threaded", LoaderSpec.train(sys.argv[1], batch_size=8, image_size=32))
print("open", flush=True)
batches = [next(iter(loader))]
print("loaded", flush=True)
sys.stdin.read()
"""


def begun(url: str, until: str, count: Callable[[], int] = lambda: 1) -> "subprocess.Popen[str]":
    """Start a process that loads a batch, and return it when it has printed ``until`` and ``count()`` is above 0."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while until not in (line := process.stdout.readline()):
        assert line, "the process ended early"
    deadline = time.monotonic() + 20
    while not count() and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_kill_leaves_nothing_that_is_used(root: Path, server: Server, cache: Path) -> None:
    """Killed in the midst of its downloads; the next process completes them."""
    server.fault = lambda name, times: time.sleep(30) if name.endswith(("1.tar", "2.tar")) else None
    process = begun(f"{server.url}/data", "open", lambda: len(server.requested("2.tar")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.fault = lambda name, times: None
    sums = sums_of(root / "shards" / "manifest.json")

    assert list(cache.rglob("*.tar.partial"))
    for path in shards_in(cache):
        assert sha256(path.read_bytes()).hexdigest() == sums[path.name]
    assert epoch_of(f"{server.url}/data") == epoch_of(root)


@pytest.fixture
def size(root: Path) -> int:
    """The bytes of the largest shard."""
    return max(path.stat().st_size for path in (root / "shards").glob("*.tar"))


def test_the_cache_is_bounded(server: Server, cache: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were not used for longest are removed."""
    monkeypatch.setenv("FEEDLINE_CACHE_SIZE", str(4 * size))
    shards = LoaderSpec.train(f"{server.url}/data").root / "shards"
    for number in range(15):
        with held(shards / f"imagenet-train-{number:06}.tar"), held(shards / "imagenet-train-000000.tar"):
            assert sum(path.stat().st_size for path in shards_in(cache)) <= 4 * size

    assert len(server.requested("000000.tar")) == 1
    assert not list(cache.rglob("*000001.tar"))


def test_processes_share_the_cache(
    root: Path, server: Server, cache: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process requests no shard that the first one has, and removes none that the first one uses."""
    process = begun(f"{server.url}/data", "loaded")
    used = [path for path in shards_in(cache) if "train" in path.name]
    epoch_of(f"{server.url}/data", workers=2)
    assert sorted(server.requested(SHARD)) == sorted(set(server.requested(SHARD)))

    monkeypatch.setenv("FEEDLINE_CACHE_SIZE", str(len(used) * size + size))
    vals = sorted(path.name for path in (root / "shards").glob("*val*.tar"))
    shards = used[0].parent
    for name in vals:
        with held(shards / name):
            assert all(path.is_file() for path in used)
    process.kill()
    process.communicate()
    (shards / vals[0]).unlink(missing_ok=True)
    monkeypatch.setenv("FEEDLINE_CACHE_SIZE", str(2 * size))
    with held(shards / vals[0]):
        assert sum(path.is_file() for path in used) < len(used)


def test_no_room_is_an_error(server: Server, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All shards are needed at once, and the cache may hold two."""
    monkeypatch.setenv("FEEDLINE_CACHE_SIZE", str(2 * size))
    with pytest.raises(StoreError, match=r"may hold .* GB, and the shards in use leave no room for \S+tar .*allow"):
        epoch_of(f"{server.url}/data")


def test_a_fetched_shard_is_in_use_at_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other thread can remove it before its first sample is read."""
    monkeypatch.setenv("FEEDLINE_CACHE_SIZE", "100")
    ours, folder = open_cache(), cache / "roots" / "data" / "shards"
    ours.make_room(folder / "a.tar.partial", 80)
    ours.add(folder / "a.tar.partial", folder / "a.tar")
    with pytest.raises(StoreError, match="the shards in use leave no room for b"):
        ours.make_room(folder / "b.tar.partial", 80)
    ours.release(folder / "a.tar")
    ours.make_room(folder / "b.tar.partial", 80)

    assert not (folder / "a.tar").exists()


def test_a_copy_that_was_cut_is_fetched_again(root: Path, server: Server, cache: Path) -> None:
    """By a disk that failed, or by hand."""
    epoch_of(f"{server.url}/data")
    for shard in shards_in(cache):
        os.truncate(shard, shard.stat().st_size // 2)

    assert epoch_of(f"{server.url}/data") == epoch_of(root)


def test_a_full_disk_of_the_cache_is_described(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which disk, and what it has left."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(
        StoreError,
        match=r"cannot write to the cache \S+cache: No space left .*\(\S+ has .* free without the unfinished file\); "
        "corr",
    ):
        epoch_of(f"{server.url}/data")


def test_a_removed_copy_of_the_manifest_is_fetched_again(root: Path, server: Server, cache: Path) -> None:
    """Between two epochs, by someone who empties the cache; and other data in its place is noticed."""
    spec = LoaderSpec.train(f"{server.url}/data", batch_size=8, image_size=32)
    with open_loader("threaded", spec) as loader:
        first = sum(len(batch.indexes) for batch in loader)
        shutil.rmtree(cache / "roots")
        assert sum(len(batch.indexes) for batch in loader) == first
        (manifest,) = cache.glob("roots/*/shards/manifest.json")
        manifest.write_text(manifest.read_text().replace('"samples": 84', '"samples": 83'))
        with pytest.raises(LoaderError, match=rf"{server.url}/data/shards/manifest.json was written again"):
            next(iter(loader))


def test_an_unwritable_cache_is_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable that chooses another."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEEDLINE_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"cannot write to the cache \S+file.*FEEDLINE_CACHE=FOLDER"):
        LoaderSpec.train(f"{server.url}/data")


def test_closing_releases_the_shards(server: Server, cache: Path) -> None:
    """A loader that was left early keeps nothing in use."""
    spec = LoaderSpec.train(f"{server.url}/data", batch_size=8, image_size=32, workers=2)
    with open_loader("threaded", spec) as loader:
        next(iter(loader))
        (lease,) = (cache / "leases").glob(f"{os.getpid()}-*.json")
        assert json.loads(lease.read_text())
    deadline = time.monotonic() + 10
    while json.loads(lease.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert json.loads(lease.read_text()) == []


def test_a_missing_index_is_named(server: Server, cache: Path) -> None:
    """The store lost it; the error says what to upload."""
    server.fault = lambda name, times: "404" if name.endswith("000003.index") else None
    with pytest.raises(StoreError, match=r"http://\S+train-000003.index is missing.*shard --index-only FOLDER"):
        epoch_of(f"{server.url}/data")


def test_a_cache_that_vanishes_is_not_the_fault_of_the_store(server: Server, cache: Path) -> None:
    """Someone removes the folder while a shard is fetched."""

    def vanish(name: str, times: int) -> Fault:
        if name.endswith("train-000003.tar"):
            shutil.rmtree(cache / "roots", ignore_errors=True)
        return None

    server.fault = vanish
    with pytest.raises(StoreError, match=r"cannot write to the cache \S+cache"), held(shard_behind(server, 3)):
        pass


def shard_behind(server: Server, number: int) -> Path:
    """Return the path of a train shard of the root behind a server."""
    return LoaderSpec.train(f"{server.url}/data").root / "shards" / f"imagenet-train-{number:06}.tar"


def test_an_epoch_keeps_no_shard(server: Server, cache: Path) -> None:
    """Neither its own, nor one that was read outside of the epoch."""
    root = LoaderSpec.train(f"{server.url}/data").root
    epoch_of(root)
    samples = ShardSamples(root, "train")
    assert samples.read(3).data.tobytes()[:2] == b"\xff\xd8"
    deadline = time.monotonic() + 10
    while leased(cache) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert leased(cache) == []
    samples.close()


def test_a_full_disk_leaves_the_list_of_used_files_whole(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a list would let another process remove what this one reads."""
    with held(shard_behind(server, 1)):
        used = leased(cache)
        with monkeypatch.context() as full:
            full.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
            with pytest.raises(StoreError, match="cannot write to the cache"), held(shard_behind(server, 2)):
                pass
        assert leased(cache) == used != []
    assert leased(cache) == []


def test_unfinished_shards_take_the_room_that_they_will_have(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process is writing 80 bytes of the disk's last 100; a file of holes takes none of them yet."""
    ours, folder = open_cache(), cache / "roots" / "data" / "shards"
    monkeypatch.setenv("FEEDLINE_CACHE_SIZE", "1GB")
    lock = FileLock(folder / "a.tar.lock")
    folder.mkdir(parents=True)
    with lock:
        ours.make_room(folder / "a.tar.partial", 80 * 2**20)
        usage = shutil.disk_usage(cache)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 * 2**20))
        with pytest.raises(StoreError, match="leave no room for b"):
            ours.make_room(folder / "b.tar.partial", 80 * 2**20)


def test_a_copy_that_is_being_fetched_is_not_begun_again(cache: Path) -> None:
    """By a process that finds other shards behind the URL."""
    folder = cache / "roots" / "data"
    (folder / "shards").mkdir(parents=True)
    with FileLock(folder / "shards" / "a.tar.lock"):
        assert not open_cache().remove_root(folder)
    assert open_cache().remove_root(folder)
    assert not folder.exists()


def test_small_shards_do_not_prove_ranges(root: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the range of a whole file is the file; larger ones must not be requested in many pieces."""
    sizes = sorted(path.stat().st_size for path in (root / "shards").glob("*train*.tar"))
    monkeypatch.setattr(fetch, "RANGE", sizes[len(sizes) // 2])
    server.fault = lambda name, times: "whole"
    assert epoch_of(f"{server.url}/data") == epoch_of(root)
    assert sorted(server.requested(SHARD)) == sorted(set(server.requested(SHARD)))


def test_latency_is_waited_for_once_by_many_requests(root: Path, server: Server) -> None:
    """Shards are requested side by side, and the samples are those of the local root."""
    server.latency = 0.05
    assert epoch_of(f"{server.url}/data") == epoch_of(root)
    assert 3 < server.most_busy <= fetch.REQUESTS


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for another process")
def test_control_c_does_not_wait_for_shards(server: Server) -> None:
    """Neither for one that a sample needs nor for those that are fetched ahead; the store answers after the test."""
    released = threading.Event()
    server.fault = lambda name, times: released.wait(60) and None if name.endswith(("1.tar", "2.tar")) else None
    process = begun(f"{server.url}/data", "open", lambda: len(server.requested("2.tar")))
    try:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    finally:
        released.set()
        process.kill()
    assert process.returncode not in (0, -signal.SIGKILL)
