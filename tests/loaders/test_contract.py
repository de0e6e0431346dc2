"""The contract of all loaders, tested for every name in the table."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from feedline.loaders import LOADERS, Batch, Loader, loader_versions, open_loader, readable_loaders
from feedline.prep import DatasetError, LoaderError, LoaderUnavailable, read_manifest

from .contract import COVERING, DCT, GPU, PLANAR, RAW, SIZE, open_named, require_loader, spec_of


@pytest.fixture(params=[*COVERING, DCT, GPU, PLANAR, *RAW])
def name(request: pytest.FixtureRequest) -> str:
    """Every installed loader whose epoch is each sample once, on raw shards too."""
    return require_loader(request.param)


def indexes_of(batches: Iterator[Batch] | Loader) -> list[int]:
    return [index for batch in batches for index in batch.indexes.tolist()]


def labels_by_index(root: Path, split: str) -> list[int]:
    per_class = read_manifest(root).splits[split].per_class
    return [label for label, count in enumerate(per_class) for _ in range(count)]


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("transform", ["train", "eval"])
def test_every_sample_comes_exactly_once_over_all_ranks(
    name: str, transform: str, world_size: int, root: Path, opened: list[Loader]
) -> None:
    """With uneven shares too; labels are the manifest's and len is exact."""
    labels = labels_by_index(root, "train")
    seen: list[int] = []
    for rank in range(world_size):
        spec = spec_of(root, transform=transform, rank=rank, world_size=world_size, shuffle=transform == "train")
        loader = open_named(name, spec)
        opened.append(loader)
        batches = list(loader)

        assert len(batches) == len(loader)
        for batch in batches:
            assert batch.labels.tolist() == [labels[index] for index in batch.indexes]
            assert batch.images.shape[1:] == (3, SIZE, SIZE)
            assert batch.images.is_contiguous(memory_format=torch.channels_last)
            seen += batch.indexes.tolist()
        assert all(len(batch.indexes) == 10 for batch in batches[:-1])
    assert sorted(seen) == list(range(len(labels)))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_order_and_pixels_do_not_depend_on_the_workers(
    name: str, workers: int, root: Path, opened: list[Loader]
) -> None:
    """Two epochs with worker processes equal two epochs in the caller's thread, bit for bit."""
    alone = open_named(name, spec_of(root))
    with_workers = open_named(name, spec_of(root, workers=workers))
    opened += [alone, with_workers]
    for _ in range(2):
        expected, actual = list(alone), list(with_workers)

        assert indexes_of(iter(actual)) == indexes_of(iter(expected))
        assert all(torch.equal(a.images, b.images) for a, b in zip(actual, expected, strict=True))


def test_epochs_differ_and_repeat_with_the_seed(name: str, root: Path, opened: list[Loader]) -> None:
    """Epoch 1 has another order and other crops than epoch 0; the same seed gives both again, another does not."""
    first, again, other = (open_named(name, spec_of(root, seed=seed)) for seed in (5, 5, 6))
    opened += [first, again, other]
    zero, one = list(first), list(first)  # a finished epoch moves on to the next by itself
    again.set_epoch(1)

    assert indexes_of(iter(zero)) != indexes_of(iter(one))
    assert indexes_of(again) == indexes_of(iter(one))
    assert indexes_of(other) != indexes_of(iter(zero))
    crops = [
        {i: image for b in epoch for i, image in zip(b.indexes.tolist(), b.images, strict=True)}
        for epoch in (zero, one)
    ]
    assert any(not torch.equal(crops[0][index], crops[1][index]) for index in crops[0])


def test_without_shuffle_every_epoch_is_the_same(name: str, root: Path, opened: list[Loader]) -> None:
    """shuffle=False is honoured: two epochs have one order, and classes folders give it sorted."""
    loader = open_named(name, spec_of(root, shuffle=False, transform="eval", split="val"))
    opened.append(loader)
    first, second = indexes_of(loader), indexes_of(loader)

    assert first == second
    if name == "imagefolder":
        assert first == sorted(first)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (0, 2), (1, 3)])
def test_resume_gives_the_very_next_sample(
    name: str, before: int, after: int, root: Path, opened: list[Loader]
) -> None:
    """A state taken in mid-epoch continues the same epoch, with any number of workers, then the next epoch."""
    reference = open_named(name, spec_of(root))
    stopped = open_named(name, spec_of(root, workers=before))
    resumed = open_named(name, spec_of(root, workers=after))
    opened += [reference, stopped, resumed]
    reference.set_epoch(4)
    stopped.set_epoch(4)
    batches = iter(stopped)
    handed_out = [index for _ in range(3) for index in next(batches).indexes.tolist()]
    state = json.loads(json.dumps(stopped.state_dict()))
    resumed.load_state_dict(state)

    assert handed_out + indexes_of(resumed) == indexes_of(reference)
    assert indexes_of(resumed) == indexes_of(reference)


@pytest.mark.parametrize("name", ["imagefolder", "webdataset"])
def test_a_state_of_another_batch_size_is_refused(name: str, root: Path, opened: list[Loader]) -> None:
    """A position counted in other batches means nothing here."""
    loader, other = open_named(name, spec_of(root)), open_named(name, spec_of(root, batch_size=7))
    opened += [loader, other]

    with pytest.raises(LoaderError, match="batch_size 10, the loader has 7; open the loader with the same batch_size"):
        other.load_state_dict(loader.state_dict())


@pytest.mark.parametrize("name", ["dali", "threaded"])
def test_resume_with_another_world_size_and_batch_size(name: str, root: Path, opened: list[Loader]) -> None:
    """Two ranks stop after two batches each; three ranks hand out exactly what is left, nothing twice."""
    require_loader(name)
    before = [open_named(name, spec_of(root, rank=rank, world_size=2, workers=1)) for rank in range(2)]
    after = [open_named(name, spec_of(root, rank=rank, world_size=3, batch_size=4)) for rank in range(3)]
    opened += [*before, *after]
    handed_out = [indexes_of(batch for _, batch in zip(range(2), loader, strict=False)) for loader in before]
    state = before[0].state_dict()
    rest: list[int] = []
    for loader in after:
        loader.load_state_dict(state)
        rest += indexes_of(loader)

    assert before[1].state_dict() == state
    assert len(rest) == 84 - 2 * 2 * 10
    assert sorted([*handed_out[0], *handed_out[1], *rest]) == list(range(84))


def test_drop_last_gives_every_rank_the_same_number_of_batches(name: str, root: Path, opened: list[Loader]) -> None:
    """All batches are whole, no sample comes twice, and the dropped remainder changes with the epoch."""
    dropped: list[set[int]] = []
    for epoch in range(3):
        counts: set[int] = set()
        seen: list[int] = []
        for rank in range(2):
            loader = open_named(name, spec_of(root, drop_last=True, rank=rank, world_size=2))
            opened.append(loader)
            loader.set_epoch(epoch)
            batches = list(loader)
            counts |= {len(batches), len(loader)}
            assert all(len(batch.indexes) == 10 for batch in batches)
            seen += indexes_of(iter(batches))
        assert counts == {4}
        assert len(set(seen)) == len(seen) == 80
        dropped.append(set(range(84)) - set(seen))
    assert dropped[0] != dropped[1] or dropped[1] != dropped[2]


def test_cached_replays_real_batches_and_says_that_it_covers_nothing(root: Path, opened: list[Loader]) -> None:
    """The ceiling: as many batches as its source has, only a few of them different, no workers accepted."""
    cached = open_loader("cached", spec_of(root, batch_size=4))
    source = open_loader("imagefolder", spec_of(root, batch_size=4))
    opened += [cached, source]
    replayed, real = list(cached), list(source)

    assert not LOADERS["cached"].covers_epoch
    assert len(replayed) == len(cached) == len(real)
    assert all(torch.equal(a.images, b.images) for a, b in zip(replayed[:4], real[:4], strict=True))
    assert torch.equal(replayed[4].images, replayed[0].images)
    with pytest.raises(LoaderError, match="cached has no workers, got 2"):
        open_loader("cached", spec_of(root, workers=2))


def test_more_workers_than_streams_are_refused(root: Path) -> None:
    """webdataset cannot honour them, so it says what would help instead of idling."""
    with pytest.raises(LoaderError, match=r"at most \d+ workers, got 17.*--shard-size"):
        open_loader("webdataset", spec_of(root, workers=17))


def test_a_split_that_is_not_there_is_refused(name: str, root: Path) -> None:
    """The message lists the splits that are."""
    with pytest.raises(LoaderError, match=r"no .*split 'dev'.*train, val"):
        open_named(name, spec_of(root, split="dev"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"image_size": -3}, "image_size must be at least 1, got -3"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"rank": 2, "world_size": 2}, r"rank must be in 0\.\.1, got 2"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(change: dict[str, int], message: str) -> None:
    """Before any file is opened."""
    with pytest.raises(LoaderError, match=message):
        spec_of(Path("nowhere"), **change)


def test_an_unfinished_root_is_refused(name: str, root: Path, tmp_path: Path) -> None:
    """Without its manifest a directory is unfinished; the message gives the command that finishes it."""
    shutil.copytree(root, tmp_path / "data")
    for manifest in (tmp_path / "data").rglob("manifest.json"):
        manifest.unlink()

    with pytest.raises(DatasetError, match=r"no manifest\.json.*feedline (prep|shard)"):
        open_named(name, spec_of(tmp_path / "data"))
    with pytest.raises(DatasetError, match="neither finished class folders nor finished shards"):
        readable_loaders(tmp_path / "data")


def test_a_missing_library_breaks_only_its_own_loader(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others stay usable, and the message is the command that installs it."""
    before = readable_loaders(root)
    own = ("feedline.loaders.webdataset", "feedline.loaders.streamed.turns")
    for module in [module for module in sys.modules if module in own or module.partition(".")[0] == "webdataset"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "webdataset", None)

    with pytest.raises(LoaderUnavailable, match="webdataset needs webdataset; install it with: pip install webdataset"):
        open_loader("webdataset", spec_of(root))
    assert readable_loaders(root) == [name for name in before if name != "webdataset"]
    assert set(loader_versions("imagefolder")) == {"torch", "torchvision", "pillow"}


def test_an_unknown_loader_is_refused(root: Path) -> None:
    """With the names that there are."""
    with pytest.raises(LoaderError, match="no loader 'dally'; choose one of: imagefolder, webdataset"):
        open_loader("dally", spec_of(root))


def test_a_batch_of_another_layout_is_refused() -> None:
    """The batch contract is checked where a batch is made, not trusted."""
    labels = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(LoaderError, match="channels_last"):
        Batch(torch.zeros((2, 3, 4, 4), dtype=torch.uint8), labels, labels)
    with pytest.raises(LoaderError, match=r"uint8 \(2, 3, H, W\), got float32"):
        Batch(torch.zeros((2, 3, 4, 4)), labels, labels)
