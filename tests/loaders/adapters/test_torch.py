"""The stand-in for torch's DataLoader, and the iterable data set: what code around a DataLoader does with them."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Subset
from torchvision import transforms

from feedline.loaders import Loader, LoaderSpec, open_loader
from feedline.loaders.adapters.torch import IterableBatches, TorchDataLoader
from feedline.prep import LoaderError

Open = Callable[..., Loader]


@pytest.fixture
def open_train(root: Path, opened: list[Loader]) -> Open:
    """Opens the train split, of 84 samples, in batches of 10."""

    def opens(**fields: Any) -> Loader:
        spec = LoaderSpec.train(root, **{"batch_size": 10, "image_size": 16, "drop_last": False, **fields})
        opened.append(open_loader("threaded", spec))
        return opened[-1]

    return opens


@pytest.fixture
def images(open_train: Open) -> list[list[torch.Tensor]]:
    """The images of the batches of epochs 0 to 2."""
    loader = open_train()
    return [[batch.images for batch in loader] for _ in range(3)]


def same(found: Iterable[Any], wanted: list[torch.Tensor]) -> bool:
    batches = [batch[0] for batch in found]
    return len(batches) == len(wanted) and all(map(torch.equal, batches, wanted))


def test_a_data_loader_has_what_code_around_one_uses(open_train: Open) -> None:
    """Its attributes, and single samples."""
    loader = open_train()
    stand_in = TorchDataLoader(loader)
    assert isinstance(stand_in, DataLoader)
    assert (len(stand_in), stand_in.batch_size, stand_in.drop_last, stand_in.num_workers) == (9, 10, False, 0)
    assert (len(stand_in.dataset), len(stand_in.sampler), len(stand_in.batch_sampler)) == (84, 84, 9)
    assert stand_in.classes == loader.classes and stand_in.pin_memory is False
    assert torch.equal(stand_in.dataset[7][0], loader.dataset[7][0]) and stand_in.dataset[7][1] == loader.dataset[7][1]
    part, labels = next(iter(DataLoader(Subset(stand_in.dataset, range(80, 84)), batch_size=4)))
    assert part.shape == (4, 3, 16, 16) and labels.tolist() == [loader.dataset[place][1] for place in range(80, 84)]
    with pytest.raises(LoaderError, match="the sample order belongs to the feedline loader"):
        list(stand_in.sampler)


def test_a_data_loader_yields_the_loader_s_epochs(open_train: Open, images: list[list[torch.Tensor]]) -> None:
    """As tuples; a loop that counts steps or breaks sees the next epoch; torch's own generator is not moved."""
    stand_in, state = TorchDataLoader(open_train()), torch.get_rng_state()
    first = [pair for _, pair in zip(range(9), stand_in, strict=False)]
    assert all(type(pair) is tuple for pair in first) and first[0][1].dtype == torch.int64
    assert same(first, images[0])
    assert same(itertools.islice(stand_in, 2), images[1][:2])
    assert same(stand_in, images[2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", [TorchDataLoader, IterableBatches])
def test_the_older_of_two_iterations_raises(kind: Any, open_train: Open, images: list[list[torch.Tensor]]) -> None:
    """As with a loader itself."""
    stand_in = kind(open_train())
    older = iter(stand_in)
    next(older)
    assert same(stand_in, images[1])
    with pytest.raises(LoaderError, match="a new iteration of the loader was begun"):
        next(older)


@pytest.mark.parametrize("kind", [TorchDataLoader, IterableBatches])
def test_an_epoch_is_set_after_the_iterator_was_made(
    kind: Any, open_train: Open, images: list[list[torch.Tensor]]
) -> None:
    """Lightning does so."""
    stand_in = kind(open_train())
    batches = iter(stand_in)
    stand_in.set_epoch(2)
    assert same(batches, images[2])


@pytest.mark.parametrize("how", ["loader", "sampler", "batch_sampler"])
def test_set_epoch_keeps_a_position_that_was_loaded(
    how: str, open_train: Open, images: list[list[torch.Tensor]]
) -> None:
    """Loops call it for every epoch, also for the one that they resume."""
    saved = TorchDataLoader(open_train())
    saved.set_epoch(1)
    assert same(itertools.islice(saved, 3), images[1][:3])
    resumed = TorchDataLoader(open_train())
    resumed.load_state_dict(saved.state_dict())
    {"loader": resumed, "sampler": resumed.sampler, "batch_sampler": resumed.batch_sampler}[how].set_epoch(1)
    assert same(resumed, images[1][3:])
    resumed.set_epoch(1)
    assert same(resumed, images[1])


def test_another_data_loader_of_its_parts_gets_the_same_batches(
    open_train: Open, images: list[list[torch.Tensor]]
) -> None:
    """Libraries build one to skip batches."""

    class Skipping:
        def __init__(self, sampler: Any, count: int) -> None:
            self.sampler, self.count = sampler, count

        def __iter__(self) -> Iterator[Any]:
            return itertools.islice(iter(self.sampler), self.count, None)

    stand_in = TorchDataLoader(open_train())
    stand_in.set_epoch(1)
    rest = DataLoader(
        stand_in.dataset, batch_sampler=Skipping(stand_in.batch_sampler, 4), collate_fn=stand_in.collate_fn
    )
    assert same(rest, images[1][4:])
    assert same(stand_in, images[2])


def test_a_collate_function_gets_samples(open_train: Open, images: list[list[torch.Tensor]]) -> None:
    """As torch's DataLoader calls it."""

    def collate(samples: list[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
        return {"x": torch.stack([image for image, _ in samples]), "y": torch.tensor([label for _, label in samples])}

    loader = open_train()
    found = list(TorchDataLoader(loader, collate_fn=collate))
    assert same([(batch["x"], batch["y"]) for batch in found], images[0])


@pytest.mark.parametrize(("size", "batch_size"), [(2, 7), (3, 7), (5, 4), (5, 17), (84, 1)])
def test_even_batches_are_the_same_number_for_all_ranks(size: int, batch_size: int, open_train: Open) -> None:
    """Only a rank with one sample less repeats one, its last; 84 samples."""
    ranks = [
        TorchDataLoader(
            open_train(rank=rank, world_size=size, batch_size=batch_size, shuffle=False, transform="eval"),
            even_batches=True,
        )
        for rank in range(size)
    ]
    found = [[labels for _, labels in rank] for rank in ranks]
    shapes = [[len(labels) for labels in rank] for rank in found]
    assert all(shape == shapes[0] for shape in shapes) and {len(rank) for rank in ranks} == {len(shapes[0])}
    assert sum(shapes[0]) == len(ranks[0].sampler) == -(-84 // size)
    labels = [int(label) for rank in found for batch in rank for label in batch]
    loader = open_train()
    assert len(labels) - 84 == -84 % size
    assert [labels.count(label) >= 21 for label in range(4)] == [True] * 4 and len(loader.dataset) == 84


@pytest.mark.parametrize("name", ["threaded", "webdataset"])
def test_even_batches_of_chosen_samples(name: str, root: Path, opened: list[Loader]) -> None:
    """The number of the chosen counts, and every loader gives the first ranks what is left over."""
    if name == "webdataset":
        pytest.importorskip("webdataset")
    found: list[list[int]] = []
    for rank in range(3):
        spec = LoaderSpec.eval(root, split="train", indices=range(30, 37), image_size=16, batch_size=2, rank=rank,
                               world_size=3)  # fmt: skip
        opened.append(open_loader(name, spec))
        stand_in = TorchDataLoader(opened[-1], even_batches=True)
        found.append([len(labels) for _, labels in stand_in])
        assert len(stand_in.dataset) == 7
    assert found == [[2, 1]] * 3
    assert [sum(len(batch.indexes) for batch in loader) for loader in opened] == [3, 2, 2]


@pytest.mark.parametrize("size", [1, 3])
def test_the_loop_of_an_imagenet_script(size: int, open_train: Open) -> None:
    """As in pytorch/examples: floats, an epoch set for each, an evaluation that leaves no rest."""
    normalize = transforms.Normalize((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    form = lambda batch: (normalize(batch.images / 255), batch.labels)  # noqa: E731
    train_loader = TorchDataLoader(open_train(drop_last=True), form=form)
    plain = open_train(drop_last=True)
    for epoch in (3, 4):
        train_loader.set_epoch(epoch)
        plain.set_epoch(epoch)
        for (images, target), batch in zip(train_loader, plain, strict=True):
            assert torch.equal(images, normalize(batch.images / 255)) and torch.equal(target, batch.labels)
    seen: list[int] = []
    for rank in range(size):
        fields = {"transform": "eval", "shuffle": False, "rank": rank, "world_size": size}
        val_loader = TorchDataLoader(open_train(**fields), form=form)
        assert len(val_loader.sampler) * size >= len(val_loader.dataset)
        seen += [label for _, target in val_loader for label in target.tolist()]
    assert sorted(seen) == sorted(plain.dataset[index][1] for index in range(84))


def test_an_iterable_data_set_goes_into_a_data_loader(open_train: Open, images: list[list[torch.Tensor]]) -> None:
    """With batch_size=None; its length is that of the loader."""
    batches = DataLoader(IterableBatches(open_train()), batch_size=None)
    assert len(batches) == 9
    assert same(batches, images[0]) and same(batches, images[1])


@pytest.mark.parametrize("kind", [TorchDataLoader, IterableBatches])
def test_worker_processes_are_refused(kind: Any, open_train: Open) -> None:
    """The loader's own workers would not be there."""
    stand_in = kind(open_train())
    if kind is TorchDataLoader:
        batches = DataLoader(
            stand_in.dataset, batch_sampler=stand_in.batch_sampler, num_workers=1, multiprocessing_context="fork"
        )
    else:
        batches = DataLoader(stand_in, batch_size=None, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(LoaderError, match="has its own workers; use num_workers=0 here"):
        list(batches)
