"""``LoaderSpec(columns=...)``: every loader yields the values of exactly the samples of its batches."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from feedline.loaders import Batch, LoaderSpec, open_loader
from feedline.prep import LoaderError, SampleError, ShardSpec, list_samples, read_manifest, write_shards
from feedline.prep.roots.lists import list_path

from ..prep.column_roots import NAMES, add_columns
from .contract import COVERING, open_named, require_loader, spec_of

pytestmark = pytest.mark.filterwarnings("ignore:.*(EXIF|[Tt]ag):UserWarning")

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def with_columns(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    """A root with columns and shards, and the columns of train by sample index."""
    place = tmp_path_factory.mktemp("columns") / "data"
    shutil.copytree(root, place, ignore=shutil.ignore_patterns("shards"))
    columns = add_columns(place)
    write_shards(place, ShardSpec(encode="copy", seed=3, shard_count=4))
    return place, columns["train"]


@pytest.fixture(scope="module")
def shards_only(with_columns: tuple[Path, Rows], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with nothing but the shards."""
    place = tmp_path_factory.mktemp("columns") / "shards-only"
    shutil.copytree(with_columns[0] / "shards", place / "shards")
    return place


def check(batch: Batch, rows: Rows, names: tuple[str, ...] = NAMES) -> None:
    indexes = batch.indexes.tolist()
    assert batch.columns == {name: [rows[index][name] for index in indexes] for name in names}


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_have_their_samples_columns(name: str, workers: int, with_columns: tuple[Path, Rows]) -> None:
    """Of the whole epoch, and after a resume."""
    place, rows = with_columns
    spec = spec_of(place, columns=NAMES, workers=workers)
    loader = open_named(name, spec)
    try:
        seen, states = list[int](), [loader.state_dict()]
        for batch in loader:
            check(batch, rows)
            seen += batch.indexes.tolist()
            states.append(loader.state_dict())
        assert sorted(seen) == list(range(len(rows)))
        loader.load_state_dict(states[2])
        batch = next(iter(loader))
        check(batch, rows)
        assert batch.indexes.tolist() == seen[20:30]
    finally:
        loader.close()


@pytest.mark.parametrize("loader_name", [*(name for name in COVERING if name != "imagefolder"), "cached"])
def test_shards_alone_have_the_columns(loader_name: str, shards_only: Path, with_columns: tuple[Path, Rows]) -> None:
    """A part of them, in the order that the spec has."""
    names = ("class", "caption")
    loader = open_loader(require_loader(loader_name), spec_of(shards_only, columns=names))
    try:
        for batch in loader:
            check(batch, with_columns[1], names)
            assert tuple(batch.columns) == names
    finally:
        loader.close()


def test_skipped_samples_take_their_columns_along(folders: Path) -> None:
    """The batch is one smaller, and the values still belong to its samples."""
    rows = add_columns(folders)["train"]
    victim = list_samples(folders, read_manifest(folders), "train")[5].path
    victim.write_bytes(b"x" * victim.stat().st_size)
    for loader_name in ("imagefolder", "threaded"):
        loader = open_loader(loader_name, spec_of(folders, columns=("caption",), on_error="skip"))
        try:
            batches = list(loader)
        finally:
            loader.close()
        assert sum(len(batch.indexes) for batch in batches) == len(rows) - 1
        for batch in batches:
            check(batch, rows, ("caption",))


@pytest.mark.parametrize("loader_name", ["imagefolder", "webdataset", "threaded", "cached"])
def test_unknown_names_are_refused_when_the_loader_opens(loader_name: str, with_columns: tuple[Path, Rows]) -> None:
    """With the columns that exist; and without any, that there are none."""
    with pytest.raises(LoaderError, match=r"no column 'masks' in train; choose from: caption, boxes, class"):
        open_loader(loader_name, spec_of(with_columns[0], columns=("caption", "masks")))


def test_a_root_without_columns_says_so(root: Path) -> None:
    """And names given as a text are refused, because each letter would be a name."""
    with pytest.raises(LoaderError, match=r"no column 'caption' in train; its samples have no columns"):
        open_loader("threaded", spec_of(root, columns=("caption",)))
    with pytest.raises(LoaderError, match=r"columns=\('caption',\)"):
        LoaderSpec(root=root, columns="caption")  # type: ignore[arg-type]


def test_no_request_reads_no_column(folders: Path) -> None:
    """The file of the columns need not even be there for shards."""
    add_columns(folders)
    write_shards(folders, ShardSpec(encode="copy"))
    for path in (*folders.glob("*.jsonl"), *(folders / "shards").glob("*.jsonl")):
        path.unlink()
    loader = open_loader("threaded", spec_of(folders))
    try:
        assert next(iter(loader)).columns == {}
    finally:
        loader.close()


def test_a_damaged_line_ends_the_epoch_with_its_number(folders: Path) -> None:
    """One sentence that names the file."""
    add_columns(folders)
    write_shards(folders, ShardSpec(encode="copy"))
    path = list_path(folders, "train")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:6], b"{" * 30 + b"\n", *lines[7:]]))
    loader = open_loader("threaded", spec_of(folders, columns=("caption",)))
    try:
        with pytest.raises(SampleError, match=r"train\.jsonl, line 7 is no JSON object.*restore the file"):
            list(loader)
    finally:
        loader.close()
