"""The contract of all loaders, tested for every name in the table; run with: python -m pytest tests/test_loaders.py"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from feedline.loaders import LOADERS, Batch, Loader, LoaderSpec, loader_versions, open_loader, readable_loaders
from feedline.loaders.crops import draw_crops, train_crop
from feedline.prep import DatasetError, LoaderError, LoaderUnavailable, SampleError, read_manifest

COVERING = [name for name, entry in LOADERS.items() if entry.covers_epoch]
SIZE = 32


@pytest.fixture(params=COVERING)
def name(request: pytest.FixtureRequest) -> str:
    """Every loader whose epoch is each sample once."""
    return request.param


@pytest.fixture
def opened() -> Iterator[list[Loader]]:
    """Loaders to be closed after the test."""
    loaders: list[Loader] = []
    yield loaders
    for loader in loaders:
        loader.close()


def spec_of(root: Path, **changes: object) -> LoaderSpec:
    return LoaderSpec(**{"root": root, "batch_size": 10, "image_size": SIZE, "seed": 5, **changes})  # type: ignore[arg-type]


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
        loader = open_loader(name, spec)
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
    alone = open_loader(name, spec_of(root))
    with_workers = open_loader(name, spec_of(root, workers=workers))
    opened += [alone, with_workers]
    for _ in range(2):
        expected, actual = list(alone), list(with_workers)

        assert indexes_of(iter(actual)) == indexes_of(iter(expected))
        assert all(torch.equal(a.images, b.images) for a, b in zip(actual, expected, strict=True))


def test_epochs_differ_and_repeat_with_the_seed(name: str, root: Path, opened: list[Loader]) -> None:
    """Epoch 1 has another order and other crops than epoch 0; the same seed gives both again, another does not."""
    first, again, other = (open_loader(name, spec_of(root, seed=seed)) for seed in (5, 5, 6))
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
    loader = open_loader(name, spec_of(root, shuffle=False, transform="eval", split="val"))
    opened.append(loader)
    first, second = indexes_of(loader), indexes_of(loader)

    assert first == second
    if LOADERS[name].needs == "folders":
        assert first == sorted(first)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (0, 2), (1, 3)])
def test_resume_gives_the_very_next_sample(
    name: str, before: int, after: int, root: Path, opened: list[Loader]
) -> None:
    """A state taken in mid-epoch continues the same epoch, with any number of workers, then the next epoch."""
    reference = open_loader(name, spec_of(root))
    stopped = open_loader(name, spec_of(root, workers=before))
    resumed = open_loader(name, spec_of(root, workers=after))
    opened += [reference, stopped, resumed]
    reference.set_epoch(4)
    stopped.set_epoch(4)
    batches = iter(stopped)
    handed_out = [index for _ in range(3) for index in next(batches).indexes.tolist()]
    state = json.loads(json.dumps(stopped.state_dict()))
    resumed.load_state_dict(state)

    assert handed_out + indexes_of(resumed) == indexes_of(reference)
    assert indexes_of(resumed) == indexes_of(reference)


def test_an_iteration_left_early_starts_again(name: str, root: Path, opened: list[Loader]) -> None:
    """After a break, the next iteration is the same epoch from its first batch, workers or not."""
    for workers in (0, 2):
        loader = open_loader(name, spec_of(root, workers=workers))
        opened.append(loader)
        first = next(iter(loader)).indexes.tolist()

        assert indexes_of(loader)[: len(first)] == first


def test_a_state_of_another_batch_size_is_refused(name: str, root: Path, opened: list[Loader]) -> None:
    """A position counted in other batches means nothing here."""
    loader, other = open_loader(name, spec_of(root)), open_loader(name, spec_of(root, batch_size=7))
    opened += [loader, other]

    with pytest.raises(LoaderError, match="batch_size 10, the loader 7"):
        other.load_state_dict(loader.state_dict())


def test_drop_last_gives_every_rank_the_same_number_of_batches(name: str, root: Path, opened: list[Loader]) -> None:
    """All batches are whole, no sample comes twice, and the dropped remainder changes with the epoch."""
    dropped: list[set[int]] = []
    for epoch in range(3):
        counts: set[int] = set()
        seen: list[int] = []
        for rank in range(2):
            loader = open_loader(name, spec_of(root, drop_last=True, rank=rank, world_size=2))
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


@pytest.mark.filterwarnings("ignore::UserWarning")  # the broken EXIF, read here by the reference
def test_train_pixels_equal_the_pillow_reference(name: str, root: Path, opened: list[Loader]) -> None:
    """Crop, antialiased bilinear resize and flip of the planned box, over every picture, odd files included."""
    loader = open_loader(name, spec_of(root))
    opened.append(loader)
    loader.set_epoch(2)
    samples = ImageFolder(root / "train").samples
    for batch in loader:
        for image, index in zip(batch.images, batch.indexes.tolist(), strict=True):
            with Image.open(samples[index][0]) as picture:
                rgb = picture.convert("RGB")
            draws = draw_crops(np.array([index]), seed=5, epoch=2)[0].tolist()
            left, top, width, height, flip = train_crop(draws, rgb.width, rgb.height)
            expected = v2.functional.resized_crop(rgb, top, left, height, width, [SIZE, SIZE], antialias=True)
            expected = v2.functional.pil_to_tensor(v2.functional.hflip(expected) if flip else expected)

            assert torch.equal(image, expected), samples[index][0]


@pytest.mark.filterwarnings("ignore::UserWarning")  # the broken EXIF, read here by the reference
def test_eval_pixels_equal_torchvision(name: str, root: Path, opened: list[Loader]) -> None:
    """Resize to size * 256 / 224 and centre crop, as torchvision's transforms do on PIL pictures."""
    loader = open_loader(name, spec_of(root, split="val", transform="eval", shuffle=False, image_size=56))
    opened.append(loader)
    reference = v2.Compose([v2.Resize(64, antialias=True), v2.CenterCrop(56), v2.PILToTensor()])
    samples = ImageFolder(root / "val")
    for batch in loader:
        for image, index in zip(batch.images, batch.indexes.tolist(), strict=True):
            assert torch.equal(image, reference(samples[index][0]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_sample_is_named(name: str, workers: int, root: Path, tmp_path: Path) -> None:
    """One sentence with the file, not a worker's traceback; and the workers can be closed after it."""
    broken = tmp_path / "data"
    shutil.copytree(root, broken)
    damage_sample(broken, name)
    loader = open_loader(name, spec_of(broken, workers=workers))
    try:
        with pytest.raises(SampleError, match=r"cannot decode .*n\d{8}_\d+") as caught:
            list(loader)
        assert "Traceback" not in str(caught.value)
    finally:
        loader.close()


def damage_sample(root: Path, name: str) -> None:
    """Overwrite the head of one picture, in the folder or inside its shard."""
    if LOADERS[name].needs == "folders":
        target, start = sorted((root / "train").rglob("*.JPEG"))[7], 0
    else:
        target, start = sorted((root / "shards").glob("*-train-*.tar"))[2], 512
    with target.open("r+b") as file:
        file.seek(start)
        file.write(b"not a picture at all" * 8)


def test_close_leaves_no_process_and_no_shared_memory(name: str, root: Path) -> None:
    """Whether the epoch was finished, left early or never begun; closing twice is safe."""
    shared = Path("/dev/shm")
    before = {path.name for path in shared.iterdir()} if shared.is_dir() else set[str]()
    children = psutil.Process().children(recursive=True)
    for batches in (0, 2, 1000):
        loader = open_loader(name, spec_of(root, workers=2))
        for _ in zip(range(batches), loader, strict=False):
            pass
        loader.close()
        loader.close()

        assert [child for child in psutil.Process().children(recursive=True) if child not in children] == []
    if shared.is_dir():
        assert {path.name for path in shared.iterdir()} <= before


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
        open_loader(name, spec_of(root, split="dev"))


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
        open_loader(name, spec_of(tmp_path / "data"))
    with pytest.raises(DatasetError, match="neither finished class folders nor finished shards"):
        readable_loaders(tmp_path / "data")


def test_a_missing_library_breaks_only_its_own_loader(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others stay usable, and the message is the command that installs it."""
    monkeypatch.delitem(sys.modules, "feedline.loaders.webdataset", raising=False)
    for module in [module for module in sys.modules if module.partition(".")[0] == "webdataset"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "webdataset", None)

    with pytest.raises(LoaderUnavailable, match="webdataset needs webdataset; install it with: pip install webdataset"):
        open_loader("webdataset", spec_of(root))
    assert readable_loaders(root) == ["imagefolder", "cached"]
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
