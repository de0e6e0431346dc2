"""Shards to and from URLs: the bytes of the local ones, and nothing half that counts as whole."""

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    FeedlineError,
    OutputError,
    ShardSpec,
    SourceError,
    SyntheticSpec,
    index_shards,
    prepare_imagenet,
    write_shards,
    write_synthetic,
)

from ...loaders.store.servers import serving
from ..column_roots import add_columns

fsspec = pytest.importorskip("fsspec", reason="install it with: pip install 'feedline[store]'")
SPEC = ShardSpec(shard_count=3)
OUT = "memory://bucket/shards"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared root of 20 + 8 images."""
    place = tmp_path_factory.mktemp("far")
    write_synthetic(place / "archives", SyntheticSpec(layout="ilsvrc2012", classes=4, images_per_class=5, seed=3))
    prepare_imagenet([place / "archives"], place / "data")
    return place / "data"


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the local shards."""
    out = tmp_path_factory.mktemp("whole") / "shards"
    write_shards(root, SPEC, out=out)
    return contents(out)


@pytest.fixture
def store() -> Iterator[Any]:
    """fsspec's store in memory, whose objects have no mark: an object is known by its content."""
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def objects(store: Any, url: str = OUT) -> dict[str, bytes]:
    top = url.removeprefix("memory:/") + "/"
    return {name.removeprefix(top): store.cat_file(name) for name in store.find(top)}


class Stop(Exception):
    """Raised by a test in the midst of a run."""


def interrupt(spec: ShardSpec, source: Any, out: str) -> None:
    """Begin to write one shard after the other, and end in the midst of the second."""

    def stop(step: str, done: int, total: int) -> None:
        if step == "shards, images" and done > total // 3:
            raise Stop

    with pytest.raises(Stop):
        write_shards(source, spec, out=out, workers=1, progress=stop)


def test_a_url_gets_the_files_of_a_folder(
    root: Path, whole: dict[str, bytes], store: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """By command line; the manifest comes last, and the local disk keeps nothing."""
    assert run(["shard", str(root), "--out", OUT, "--shard-count", "3", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["shards"] == OUT
    assert objects(store) == whole
    newest = max(store.find("/bucket/shards", detail=True).values(), key=lambda about: about["created"])
    assert newest["name"].endswith("manifest.json")

    write_shards(root, SPEC, out=OUT)  # finished shards are kept as they are
    assert newest["created"] == store.find("/bucket/shards", detail=True)[newest["name"]]["created"]


def test_a_repaired_source_goes_on_to_the_same_url(root: Path, store: Any, tmp_path: Path) -> None:
    """As into a folder: an image that changes ends the first run, and fewer shards of the second leave no old one."""
    source, spec = tmp_path / "source", ShardSpec(shard_count=4, order="sequential")
    shutil.copytree(root / "train", source / "train")
    images = sorted(source.rglob("*.JPEG"))

    def change(step: str, done: int, total: int) -> None:
        if step.startswith("shards") and done:
            images[-1].write_bytes(b"changed")

    with pytest.raises(DatasetError, match="changed while it was read"):
        write_shards(source, spec, out=OUT, workers=1, progress=change)
    assert len([name for name in objects(store) if name.endswith(".tar")]) > 2
    for path in images[2:]:
        path.unlink()
    with pytest.raises(OutputError, match="holds an unfinished shard of other sources or settings"):
        write_shards(source, ShardSpec(shard_count=4), out=OUT)
    write_shards(source, spec, out=OUT)

    write_shards(source, spec, out=tmp_path / "s")
    assert objects(store) == contents(tmp_path / "s")


def test_a_root_behind_a_url_is_a_source(root: Path, whole: dict[str, bytes], store: Any, tmp_path: Path) -> None:
    """Class folders, and the shards go to the root by default; then to a local folder."""
    store.put(str(root), "/bucket/data", recursive=True)
    write_shards("memory://bucket/data", SPEC)
    assert objects(store, "memory://bucket/data/shards") == whole
    with pytest.raises(OutputError, match=r"memory://bucket/data is a prepared root.*memory://bucket/data/shards"):
        write_shards(root, SPEC, out="memory://bucket/data/")

    write_shards(Path("memory://bucket/data"), SPEC, out=tmp_path / "out")  # which pathlib writes with one slash
    assert contents(tmp_path / "out") == whole


def test_shards_behind_a_url_are_a_source(root: Path, store: Any, tmp_path: Path) -> None:
    """Also on a web server, which lists no files. The shards are those that are made of local ones."""
    write_shards(root, SPEC)
    other = ShardSpec(shard_count=2, encode="copy", seed=7)
    write_shards(root / "shards", other, out=tmp_path / "local")
    store.put(str(root / "shards"), "/bucket/old", recursive=True)
    write_shards("memory://bucket/old", other, out=OUT)
    assert objects(store) == contents(tmp_path / "local")

    pytest.importorskip("aiohttp")
    with serving(root.parent) as server:
        write_shards(f"{server.url}/data/shards", other, out=tmp_path / "web")
        assert contents(tmp_path / "web") == contents(tmp_path / "local")
        with pytest.raises(SourceError, match="class folders behind a web server, which does not list their files"):
            write_shards(f"{server.url}/data", other, out=tmp_path / "none")


def test_names_with_spaces_are_the_same_from_afar(store: Any, tmp_path: Path) -> None:
    """Shards of other tools have them. Behind a URL, names come from the index for DALI, which separates by spaces."""
    image = io.BytesIO()
    Image.new("RGB", (16, 16)).save(image, "JPEG")
    (tmp_path / "theirs").mkdir()
    with tarfile.open(tmp_path / "theirs" / "data-train-000000.tar", "w") as tar:
        for name, data in [
            (f"{stem}.{end}", data)
            for stem in ("my photo 1", "my photo 2", "no", "wide\u3000one")
            for end, data in (("jpg", image.getvalue()), ("cls", b"0"))
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    index_shards(tmp_path / "theirs")
    store.put(str(tmp_path / "theirs"), "/bucket/theirs", recursive=True)
    write_shards(tmp_path / "theirs", SPEC, out=tmp_path / "near")
    write_shards("memory://bucket/theirs", SPEC, out=tmp_path / "far")
    assert contents(tmp_path / "far") == contents(tmp_path / "near")


def test_columns_come_along(root: Path, store: Any, tmp_path: Path) -> None:
    """The list of a root is fetched, and its values stand in the shards."""
    shutil.copytree(root, tmp_path / "data", ignore=shutil.ignore_patterns("shards"))
    add_columns(tmp_path / "data")
    write_shards(tmp_path / "data", SPEC, out=tmp_path / "local")
    store.put(str(tmp_path / "data"), "/bucket/data", recursive=True)

    write_shards("memory://bucket/data", SPEC, out=OUT)
    assert objects(store) == contents(tmp_path / "local")
    assert any(b"caption" in data for name, data in objects(store).items() if name.endswith(".tar"))


def test_an_interrupted_upload_is_continued(root: Path, whole: dict[str, bytes], store: Any) -> None:
    """Shards with a note are kept; one whose object was cut or changed since is written again."""
    interrupt(SPEC, root, OUT)
    assert "manifest.json" not in objects(store)
    first = next(name for name in objects(store) if name.endswith(".tar"))
    created = store.info(f"/bucket/shards/{first}")["created"]
    with pytest.raises(OutputError, match=r"memory://bucket/shards holds an unfinished shard of other sources or sett"):
        write_shards(root, ShardSpec(shard_count=4), out=OUT)

    write_shards(root, SPEC, out=OUT)
    assert objects(store) == whole
    assert store.info(f"/bucket/shards/{first}")["created"] == created


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + b"x", lambda data: None])
def test_an_object_that_is_not_the_noted_one_is_written_again(
    root: Path, whole: dict[str, bytes], store: Any, change: Any
) -> None:
    """Cut, changed, or gone."""
    interrupt(SPEC, root, OUT)
    name = next(name for name in store.find("/bucket/shards") if name.endswith(".tar"))
    changed = change(store.cat_file(name))
    store.rm_file(name)
    if changed is not None:
        store.pipe_file(name, changed)

    write_shards(root, SPEC, out=OUT)
    assert objects(store) == whole


def test_what_lies_behind_the_url_is_not_replaced(root: Path, store: Any) -> None:
    """Something else is left alone."""
    store.pipe_file("/bucket/shards/thesis.txt", b"mine")
    with pytest.raises(OutputError, match=r"memory://bucket/shards holds something else \(thesis.txt\)"):
        write_shards(root, SPEC, out=OUT)
    assert objects(store) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("memory://bucket/none", "out", r"memory://bucket/none has neither manifest.json nor shards/manifest.json"),
        ("memory://bucket/none", None, r"has neither manifest.json"),
        ("data", "https://me:s3cr3t@host/x?sig=s3cr3t", r"https://host/x is on a web server, which is not written to"),
        ("data", "ftp://me:s3cr3t@host/x", r"ftp://host/x has an unknown protocol; use one of: s3://"),
        ("ftp://me:s3cr3t@host/x", "out", r"ftp://host/x has an unknown protocol; use one of: s3://"),
        ("data", "s3:///", r"s3:/// names no host and no bucket"),
        ("s3://me:s3cr3t@bucket/x", "out", r"s3://bucket/x was given with a user, a password.*AWS_PROFILE"),
        ("data", "gs://bucket/x?sig=s3cr3t", r"gs://bucket/x was given with .*what follows \? or #"),
        ("data", "s3://me:s3c/r3t@bucket/x", r"s3://bucket/x was given with an @ that may end a password"),
    ],
)
def test_urls_that_cannot_be_used_are_one_clear_error(
    root: Path, tmp_path: Path, store: Any, source: str, out: str | None, message: str
) -> None:
    """Credentials are not in it."""
    place = {"data": root}.get(source, source)
    target = tmp_path / "out" if out == "out" else out
    with pytest.raises(FeedlineError, match=message) as caught:
        write_shards(place, SPEC, out=target)
    assert "s3cr3t" not in str(caught.value)


def test_options_that_a_url_does_not_have(
    root: Path, store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--index-only reads local shards, and a manifest states its splits."""
    assert run(["shard", "--index-only", "memory://bucket/old"]) == 2
    assert "--index-only reads shards on this machine" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(DatasetError, match="states its splits in its manifest; leave --split-from out"):
        write_shards("memory://bucket/old", SPEC, out=tmp_path / "out", split_from={"a": "train"})
