"""A million samples: what a rank holds in memory of its own, and orders that do not depend on how they are made."""

import os
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from feedline.benchmarks.scale.made_root import make_root
from feedline.loaders import LoaderSpec, open_loader
from feedline.loaders.sampling.chosen import Chosen
from feedline.loaders.support import index_rows
from feedline.loaders.support.shard_samples import ShardSamples
from feedline.prep import FeedlineError, LoaderError, permutation, sample_order
from feedline.prep.base import order
from feedline.prep.shards import kept_orders
from feedline.prep.shards.kept_orders import ShardOrder

SAMPLES, SHARDS = 1_000_000, 20
LINUX = sys.platform == "linux" and sys.maxsize > 2**32
FIRST = ([7, 9, 1, 6, 0, 3, 5, 4, 2, 8], [9, 1, 0, 5, 3, 6, 2, 4, 8, 7], 499226467)


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of indexes only, whose shards are empty to the last byte."""
    return make_root(tmp_path_factory.mktemp("million") / "data", samples=SAMPLES, shards=SHARDS, classes=10)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_rank_copies_neither_indexes_nor_order(million: Path, cache: Path) -> None:
    """50 MB of index rows and 8 MB of order stay mapped, and labels come from the rows."""
    ShardOrder(SAMPLES, "shuffled", 0)  # kept by the first rank
    tracemalloc.start()
    try:
        with closing(ShardSamples(million, "train")) as samples:
            indexes = np.arange(0, SAMPLES, 3989)
            located = samples.locate(indexes)
            held, _ = tracemalloc.get_traced_memory()
            assert (located.rows["label"] == samples.labels_of(indexes)).all()
            assert (samples.labels[indexes] == located.rows["label"]).all()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


def test_rows_are_those_of_the_samples(million: Path, cache: Path) -> None:
    """Label, size and key of the generated rows are functions of the sample's place."""
    with closing(ShardSamples(million, "train")) as samples:
        places = np.array([0, 49_999, 50_000, 999_999, 123_456])
        indexes = sample_order(SAMPLES, "shuffled", 0)[places]
        assert samples.labels_of(indexes).tolist() == (places % 10).tolist()
        assert [samples.key(index) for index in indexes.tolist()] == [f"{place:09}" for place in places.tolist()]
        assert samples.locate(indexes).rows["size"].tolist() == (1000 + places % 7).tolist()
        assert sum(samples.windows()) == len(samples) == SAMPLES
        assert samples.in_window(1)[0] == indexes[2]


def test_indexes_that_are_opened_when_needed_have_the_same_rows(
    million: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for three mapped indexes of twenty."""
    indexes = np.arange(0, SAMPLES, 997)
    with closing(ShardSamples(million, "train")) as samples:
        whole = samples.locate(indexes).rows
    monkeypatch.setattr(index_rows, "CHECKED", 0)
    monkeypatch.setattr(index_rows, "MOST_MAPPED", 3)
    with closing(ShardSamples(million, "train")) as samples:
        assert (samples.locate(indexes).rows == whole).all()


def test_an_index_that_is_opened_when_needed_is_checked_then(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing one is noticed at once, a damaged one before its first sample."""
    root = make_root(tmp_path / "data", samples=200, shards=2, classes=2)
    index = sorted((root / "shards").glob("*.index"))[1]
    monkeypatch.setattr(index_rows, "CHECKED", 0)
    index.write_bytes(index.read_bytes()[:100].ljust(index.stat().st_size, b"x"))
    with closing(ShardSamples(root, "train")) as samples, pytest.raises(FeedlineError, match="--index-only"):
        samples.labels_of(np.arange(200))
    index.unlink()
    with pytest.raises(FeedlineError, match=r"cannot read .*--index-only"):
        ShardSamples(root, "train")


@pytest.mark.parametrize("kind", ["shuffled", "two-level", "sequential"])
def test_a_kept_order_is_the_order(kind: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept in a file, made again if the file is cut, and in memory if it cannot be written."""
    monkeypatch.setattr(kept_orders, "KEPT", 1)
    expected = sample_order(3_000, kind, 5)  # type: ignore[arg-type]
    for _ in range(3):
        found = ShardOrder(3_000, kind, 5)  # type: ignore[arg-type]
        assert np.array_equal(found.indexes(0, 3_000), expected)
        assert np.array_equal(found.places(expected), np.arange(3_000))
        for file in cache.rglob("*.order"):
            file.write_bytes(file.read_bytes()[:-1])
    monkeypatch.setattr(kept_orders, "cache_folder", lambda: Path(__file__) / "no folder")
    assert np.array_equal(ShardOrder(3_000, kind, 5).indexes(7, 90), expected[7:90])  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["another seed", "another machine", "a lost write", "an old version", "pages"])
def test_a_kept_file_that_is_not_this_order_is_written_again(
    damage: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the right name and size."""
    monkeypatch.setattr(kept_orders, "KEPT", 1)
    ShardOrder(3_000, "shuffled", 6), ShardOrder(3_000, "shuffled", 5)
    (file,) = cache.rglob("*-5.order")
    data = file.read_bytes()
    file.write_bytes(
        {
            "another seed": next(cache.rglob("*-6.order")).read_bytes(),
            "another machine": data[:128].replace(b" little ", b" big ").ljust(128)
            + np.frombuffer(data[128:], np.uint32).byteswap().tobytes(),
            "a lost write": bytes(len(data)),
            "an old version": b"feedline order 1\n".ljust(128) + data[128:],
            "pages": data[:4096].ljust(len(data), b"\0"),
        }[damage]
    )
    found = ShardOrder(3_000, "shuffled", 5)
    assert np.array_equal(found.indexes(0, 3_000), sample_order(3_000, "shuffled", 5))
    assert file.read_bytes() == data
    assert not [*cache.rglob("*.partial")]


@pytest.mark.skipif(not LINUX, reason="bus errors are caught on Linux only")
@pytest.mark.parametrize("left", [0, 1000])
def test_an_order_that_is_cut_while_it_is_mapped_is_an_error(
    left: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was cut becomes zeros, which are the places of other samples, without a bus error within the last page."""
    monkeypatch.setattr(kept_orders, "KEPT", 1)
    cut = r"\.order was cut .*; remove it and open the loader again"
    root = make_root(tmp_path / "data", samples=200, shards=2, classes=2)
    with closing(ShardSamples(root, "train")) as samples:
        (file,) = cache.rglob("*.order")
        os.truncate(file, left)
        with pytest.raises(LoaderError, match=cut):
            samples.labels_of(np.arange(200))
        assert samples.lost == (not left)
        for index in (100, 199):
            with pytest.raises(LoaderError, match=cut):
                samples.key(index)
    with closing(ShardSamples(root, "train")) as samples:
        assert (samples.labels_of(sample_order(200, "shuffled", 0)) == np.arange(200) % 100 % 2).all()


@pytest.mark.skipif(not LINUX, reason="bus errors are caught on Linux only")
def test_an_order_of_which_pages_cannot_be_read_is_an_error(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad disk: the pages become zeros, and the file keeps its size."""
    monkeypatch.setattr(kept_orders, "KEPT", 1)
    root = make_root(tmp_path / "data", samples=200, shards=2, classes=2)
    with closing(ShardSamples(root, "train")) as samples:
        (file,) = cache.rglob("*.order")
        size = file.stat().st_size
        os.truncate(file, 0)
        with pytest.raises(LoaderError, match="was cut"):
            samples.labels_of(np.arange(200))
        os.truncate(file, size)
        for index in (0, 7):
            with pytest.raises(LoaderError, match=r"cannot be read any more; remove it and open the loader again"):
                samples.read(index)


def test_an_epoch_in_blocks_is_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """For several ranks, from the beginning and from the middle."""
    whole = permutation(SAMPLES, 3, 2)
    monkeypatch.setattr(order, "BLOCK", 100_000)
    for done in (0, 777_777):
        for rank in range(3):
            spec = LoaderSpec(root=Path("data"), batch_size=7, seed=3, rank=rank, world_size=3)
            blocks = [*Chosen(spec, SAMPLES, lambda: np.zeros(SAMPLES, np.int64)).share(2, done)]
            assert len(blocks) > 2
            assert np.array_equal(np.concatenate(blocks), whole[done:][rank::3])


def test_the_first_permutations_stay_as_they_are() -> None:
    """Of each seed and epoch: a saved state is continued by a later version."""
    assert permutation(10, 0, 0).tolist() == FIRST[0] and permutation(10, 2**40, 7).tolist() == FIRST[1]
    assert int((permutation(100_000, 11, 3) * np.arange(100_000) % 9973).sum()) == FIRST[2]


def test_a_loader_opens_it(million: Path, cache: Path) -> None:
    with open_loader("threaded", LoaderSpec(root=million, batch_size=256, rank=1, world_size=2)) as loader:
        assert len(loader) == 1954 and loader.samples == SAMPLES
