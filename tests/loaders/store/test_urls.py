"""Roots behind URLs load as local ones do, and are named by their URLs without credentials."""

import errno
import json
import os
import shutil
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.loaders import LoaderSpec, open_loader, readable_loaders
from feedline.loaders.store import ahead
from feedline.loaders.store.roots import root_of
from feedline.loaders.support.streams import STREAMS
from feedline.prep import DatasetError, LoaderError, ShardSpec, StoreError, read_document, write_document, write_shards
from feedline.prep.base.origins import held, plain_url, shown, without_credentials
from feedline.prep.base.shell import shell_word
from feedline.train import TrainConfig

from ..contract import require_loader
from .epochs import epoch_of, leased, shards_in
from .servers import Server, serving


@pytest.mark.parametrize(("name", "workers"), [("threaded", 2), ("webdataset", 0), ("webdataset", 1), ("dali", 1)])
def test_an_epoch_from_a_server_is_the_local_one(root: Path, server: Server, name: str, workers: int) -> None:
    """The same samples in the same order with the same pixels, and each shard is fetched once."""
    require_loader(name)
    expected = epoch_of(root, name)

    assert epoch_of(f"{server.url}/data", name, workers=workers) == expected
    assert epoch_of(f"{server.url}/data/shards/", name) == expected
    assert sorted(server.requested(".tar")) == sorted(set(server.requested(".tar")))


def test_every_way_to_name_a_root_works(root: Path, server: Server, tmp_path: Path) -> None:
    """A URL in a Path, which drops a slash; file://; and a drive letter, which is no protocol."""
    assert LoaderSpec(root=Path(f"{server.url}/data")).root == LoaderSpec(root=f"{server.url}/data/").root  # pyright: ignore
    assert root_of(root.as_uri()) == root
    assert root_of("C:\\data") == Path("C:\\data")
    assert root_of("C:/data") == Path("C:/data")
    assert "imagefolder" not in readable_loaders(LoaderSpec.train(f"{server.url}/data").root)


def test_columns_and_other_splits_come_along(root: Path, server: Server) -> None:
    """Evaluation in order, chosen classes, and single samples."""
    spec = LoaderSpec.eval(root, image_size=32, batch_size=8)
    with open_loader("threaded", spec) as loader:
        expected = [(batch.indexes.tolist(), int(batch.images.sum())) for batch in loader]
        key = loader.dataset.key(3)
    with open_loader("threaded", LoaderSpec.eval(f"{server.url}/data", image_size=32, batch_size=8)) as loader:
        assert [(batch.indexes.tolist(), int(batch.images.sum())) for batch in loader] == expected
        assert loader.dataset.key(3) == key
    assert epoch_of(f"{server.url}/data", classes=(1,)) == epoch_of(root, classes=(1,))


@pytest.fixture
def two_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of two shards, as a large data set has."""
    size = sum(path.stat().st_size for path in (root / "shards").glob("*train*.tar"))
    monkeypatch.setattr(ahead, "WINDOW", size // 8)


@pytest.mark.usefixtures("two_at_a_time")
def test_a_large_root_is_read_in_windows(server: Server) -> None:
    """Each sample once, an order of its own per epoch, the same with threads, and a resume continues."""
    url = f"{server.url}/data"
    found = epoch_of(url)
    indexes = [index for batch in found for index in batch[0]]
    spec = LoaderSpec.train(url, batch_size=8, image_size=32, drop_last=False)
    with open_loader("threaded", spec) as loader:
        iterator = iter(loader)
        begun = [next(iterator).indexes.tolist() for _ in range(3)]
        state = loader.state_dict()
    with open_loader("threaded", spec) as loader:
        loader.load_state_dict(state)
        rest = [batch.indexes.tolist() for batch in loader]
        second = [batch.indexes.tolist() for batch in loader]

    assert sorted(indexes) == list(range(len(indexes)))
    assert epoch_of(url, workers=2) == found
    assert begun + rest == [batch[0] for batch in found] != second


@pytest.mark.usefixtures("two_at_a_time")
def test_shards_are_fetched_as_they_are_needed(server: Server, cache: Path) -> None:
    """The first batch does not wait for the whole data set."""
    spec = LoaderSpec.train(f"{server.url}/data", batch_size=4, image_size=32)
    with open_loader("threaded", spec) as loader:
        next(iter(loader))
        assert 0 < len(set(server.requested(".tar"))) < 16


def test_the_first_shards_of_all_streams_are_fetched_together(folders: Path, cache: Path) -> None:
    """A stream does not wait for the second shard of another one; none is kept by an iteration that is left."""
    require_loader("webdataset")
    pytest.importorskip("aiohttp")
    write_shards(folders, ShardSpec(seed=3, shard_count=3 * STREAMS))
    assert len(list((folders / "shards").glob("*train*.tar"))) > 2 * STREAMS
    with serving(folders) as server:
        spec = LoaderSpec.train(server.url, batch_size=1, image_size=32)
        with open_loader("webdataset", spec) as loader:
            next(iter(loader))
            within_10_s(lambda: len(set(server.requested(".tar"))) > STREAMS)
    within_10_s(lambda: leased(cache) == [])


def within_10_s(holds: Callable[[], bool]) -> None:
    """Fail unless a condition holds within 10 s."""
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


@pytest.mark.usefixtures("two_at_a_time")
def test_an_epoch_in_windows_is_not_resumed_in_another_order(root: Path, server: Server) -> None:
    """Samples would be lost and repeated."""
    with open_loader("threaded", LoaderSpec.train(f"{server.url}/data", batch_size=8, image_size=32)) as loader:
        next(iter(loader))
        state = loader.state_dict()
    with (
        open_loader("threaded", LoaderSpec.train(root, batch_size=8, image_size=32)) as loader,
        pytest.raises(LoaderError, match=r"in windows of 2 shards.* in one order over all shards; resume with"),
    ):
        loader.load_state_dict(state)


def test_what_cannot_be_read_is_refused(root: Path, server: Server, tmp_path: Path) -> None:
    """Class folders, nothing at all, and an unknown protocol: with the next step."""
    server.fault = lambda name, times: "404" if "shards" in name else None
    with pytest.raises(StoreError, match=r"http://127\S+/data has class folders and no shards.*feedline shard ROOT"):
        LoaderSpec.train(f"{server.url}/data")
    with pytest.raises(StoreError, match=r"/nothing has no shards/manifest.json; check the URL"):
        LoaderSpec.train(f"{server.url}/nothing")
    with pytest.raises(StoreError, match="ftp://host/data has an unknown protocol; use one of: s3://"):
        LoaderSpec.train("ftp://host/data")
    server.fault = lambda name, times: None
    with pytest.raises(LoaderError, match=r"imagefolder reads class folders, and of http://\S+ which is behind a URL"):
        open_loader("imagefolder", LoaderSpec.train(f"{server.url}/data"))
    with pytest.raises(LoaderError, match=r"http://\S+/data/shards has no split 'x'"):
        open_loader("threaded", LoaderSpec.train(f"{server.url}/data", split="x"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, "adlfs", None)
    fsspec.register_implementation("az", "adlfs.AzureBlobFileSystem", clobber=True)  # forget what was imported
    with pytest.raises(StoreError, match=r"az://container/data.* needs adlfs.*pip install 'feedline\[store\]'"):
        LoaderSpec.train("az://container/data")


def test_missing_credentials_are_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    """adlfs refuses to be opened without them."""
    pytest.importorskip("adlfs")
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    with pytest.raises(StoreError, match=r"^az://container/data.* cannot be opened: .*\(AZURE_STORAGE_CONNECTION_STR"):
        LoaderSpec.train("az://container/data")


def test_a_limit_is_not_blamed_on_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """adlfs reports every error as one of its account."""
    fsspec = pytest.importorskip("fsspec")

    def open_files(*_: object, **__: object) -> None:
        raise ValueError("unable to connect to account for ...") from OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(fsspec, "filesystem", open_files)
    with pytest.raises(StoreError, match=r"^az://container/data.* cannot be opened: this process may open") as error:
        LoaderSpec.train("az://container/data")
    assert "credentials" not in str(error.value)


def test_replaced_shards_are_noticed(root: Path, tmp_path: Path, cache: Path) -> None:
    """A new manifest behind the same URL begins the copy again; old shards are never mixed with new ones."""
    pytest.importorskip("aiohttp")
    data = Path(shutil.copytree(root, tmp_path / "web" / "data"))
    with serving(tmp_path / "web") as server:
        before = epoch_of(f"{server.url}/data")
        shutil.rmtree(data / "shards")
        write_shards(data, ShardSpec(seed=4, shard_count=3))
        after = epoch_of(f"{server.url}/data")

    assert after == epoch_of(data) == before  # the same samples, in other shards
    assert len(shards_in(cache)) == 3


@pytest.fixture
def guarded(server: Server) -> Generator[str]:
    """The URL, with user, password and signature, of a root that needs them."""
    server.authorization = "Basic " + b64encode(b"reader:s3cr3t").decode()
    yield f"{server.url.replace('://', '://reader:s3cr3t@')}/data?sig=t0ps3cr3t"
    for name in [name for name in os.environ if name.startswith("FEEDLINE_STORE_")]:
        del os.environ[name]


def test_credentials_are_used_and_never_written(
    root: Path, server: Server, guarded: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in the cache, a checkpoint's settings, an error or the text of a root; a child process has them too."""
    assert epoch_of(guarded) == epoch_of(root)
    assert epoch_of(f"{server.url}/data", "webdataset", workers=1) == epoch_of(root, "webdataset")  # as a child would
    (tmp_path / "run").mkdir()
    write_document(tmp_path / "run" / "config.json", TrainConfig(root=guarded, out=tmp_path / "run"))  # pyright: ignore
    read = read_document(tmp_path / "run" / "config.json", TrainConfig)
    assert run(["verify", guarded]) == 0
    server.fault = lambda name, times: "403"
    assert run(["verify", guarded.replace("/data", "/other")]) == 1
    said = capsys.readouterr()

    assert read.root == root_of(guarded)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["root"] == f"{server.url}/data"
    assert "the store does not let this process read" in said.err
    written = [
        path.read_bytes() for folder in (cache, tmp_path / "run") for path in folder.rglob("*") if path.is_file()
    ]
    for secret in ("s3cr3t", "t0ps3cr3t"):
        assert secret not in said.err + said.out
        assert not any(secret.encode() in data for data in written)


def test_a_damaged_copy_is_repaired(
    root: Path, server: Server, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify` compares with the store; an error of a copy's index leads to it."""
    url = f"{server.url}/data"
    assert run(["verify", url]) == 0
    copy, other = shards_in(cache)[:2]
    copy.with_suffix(".index").write_bytes(b"no index")
    other.write_bytes(other.read_bytes()[:-9] + b"x" * 9)
    with pytest.raises(DatasetError, match=rf"fetch it again, with: feedline verify {url}$"):
        epoch_of(url)
    assert run(["verify", url]) == 0
    assert epoch_of(url) == epoch_of(root)
    server.fault = lambda name, times: "corrupt" if name.endswith("000001.tar") else None
    other.unlink()
    assert run(["verify", url]) == 1
    assert "repair what is named above, upload it again" in capsys.readouterr().err


def test_what_needs_a_disk_refuses_urls(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Preparing, and loaders of class folders: with the next step."""
    assert run(["prep", "imagefolder", "s3://user:pass@bucket/data", "--out", str(tmp_path / "data")]) == 2
    assert "s3://bucket/data is a URL, and this command reads and writes folders" in capsys.readouterr().err
    assert run(["prep", "webdataset", "s3://user:pass@bucket/a.tar", "--out", str(tmp_path / "data")]) == 1
    assert "s3://bucket/a.tar is an address" in capsys.readouterr().err
    assert run(["train", f"{server.url}/data", "--loader", "imagefolder", "--out", str(tmp_path / "run")]) == 1
    assert "shards are read and class folders are not; choose a loader of shards" in capsys.readouterr().err


def test_advice_quotes_urls(cache: Path) -> None:
    """A copy is named by its URL before it is quoted, not after."""
    assert shell_word(root_of("s3://bucket/my data")) == "'s3://bucket/my data'"
    assert shell_word(root_of("s3://bucket/my data") / "shards") == "'s3://bucket/my data/shards'"


def test_commands_take_urls(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` checks every shard; what it says names the URL and not the folder of the cache."""
    url = f"{server.url}/data"
    assert run(["verify", url, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["splits"]["train"] == {"classes": 4, "images": 84}
    assert f"{url} is complete and undamaged" in said.err
    server.fault = lambda name, times: "404" if name.endswith("000003.tar") else None
    assert run(["verify", f"{server.url}/data", "--cache-size", "nonsense"]) == 1
    assert "'nonsense' is not a size; write 200GB or 100GiB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://KEY:t0p/s3cr3t@bucket/data", "s3://bucket/data was given with an @ that may end a password.*%2F for /"),
        ("s3://KEY:t0ps3cr3t@bucket/data", "s3://bucket/data was given with a user, a password.*AWS_PROFILE"),
        ("gs://bucket/data?sig=t0ps3cr3t", r"gs://bucket/data was given with .*\(GOOGLE_APPLICATION_CREDENTIALS\)"),
        ("hf://datasets/a/b?token=t0ps3cr3t", r"hf://datasets/a/b was given with .* what follows \? or #"),
        ("http://me:t0p?s3cr3t@host/data", "http://host/data was given with an @ that may end a password"),
    ],
)
def test_credentials_that_cannot_be_used_are_refused_and_not_shown(url: str, message: str) -> None:
    """In a store that takes them from the environment, or where it is not clear which part is the password."""
    with pytest.raises(StoreError, match=message) as raised:
        root_of(url)
    for text in (str(raised.value), without_credentials(f"cannot read {url}, again"), plain_url(url)):
        assert "s3cr3t" not in text
        assert "t0p" not in text


def test_an_at_sign_of_a_path_stays() -> None:
    """It ends no password."""
    for url in ("s3://bucket/me@home/data", "hf://datasets/a/b@v2/data", "http://host/me@home"):
        assert plain_url(url) == without_credentials(url) == url
        assert shown(root_of(url)) == url


def test_verify_fetches_nothing_twice(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """What was just fetched and is wrong is wrong behind the URL; only older copies are compared with the store."""
    wrong = ("000001.tar", "000002.index")
    server.fault = lambda name, times: "corrupt" if name.endswith(wrong) else "404" if "3.index" in name else None
    assert run(["verify", f"{server.url}/data"]) == 1
    said = capsys.readouterr().err

    assert "train-000001.tar was fetched 3 times" in said
    assert "train-000002.index does not belong to its shards" in said
    assert "train-000003.index is missing" in said
    assert len(server.requested("train-000001.tar")) == 3
    for name in ("train-000002.index", "train-000003.index", "train-000002.tar"):
        assert len(server.requested(name)) == 1


def test_verify_blames_a_copy_in_use_and_not_the_store(
    server: Server, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It cannot be fetched again while it is read."""
    path = root_of(f"{server.url}/data") / "shards" / "imagenet-train-000001.tar"
    LoaderSpec.train(f"{server.url}/data")
    with held(path):
        path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
        assert run(["verify", f"{server.url}/data"]) == 1
    assert "000001.tar on this machine is damaged, and a process uses it" in capsys.readouterr().err
    assert run(["verify", f"{server.url}/data"]) == 0
