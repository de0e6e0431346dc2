"""Loaders for code that requires a DataLoader or a data set of torch.

``TorchDataLoader`` is a DataLoader, with the attributes that code around one uses. Its ``batch_sampler`` counts the
batches of the loader, and its data set takes them. So a library that builds another DataLoader from the two, to
skip batches for example, gets the same batches. ``IterableBatches`` is a data set to put into a DataLoader, or
whatever else takes an iterable with a state.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info
from torch.utils.data.distributed import DistributedSampler

from ...prep import LoaderError
from ..base import Loader
from ..batch import Batch
from .even import Evened
from .position import Place, Position, refuse_worker

Pair = tuple[torch.Tensor, int]


class IterableBatches(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """The batches of a loader, as tuples of images and labels, one epoch per iteration.

    Use it as ``DataLoader(IterableBatches(loader), batch_size=None)``, in torchdata's StatefulDataLoader, or as the
    ``iterable`` of ``torchdata.nodes.IterableWrapper``. A worker process raises LoaderError.
    """

    def __init__(self, loader: Loader) -> None:
        self._position = Position(loader)

    def __len__(self) -> int:
        return len(self._position.loader)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        refuse_worker(get_worker_info())
        return ((batch.images, batch.labels) for batch in self._position.batches())

    def set_epoch(self, epoch: int) -> None:
        self._position.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        return self._position.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._position.load_state_dict(state)


class TorchDataLoader(DataLoader[Any]):
    """A DataLoader that yields the batches of a loader, as tuples of images and labels.

    It has ``num_workers`` 0, as no worker process is torch's; the loader's own workers are those of its spec.
    """

    def __init__(
        self,
        loader: Loader,
        *,
        form: Callable[[Batch], Any] | None = None,
        collate_fn: Callable[[list[Pair]], Any] | None = None,
        even_batches: bool = False,
    ) -> None:
        """Yield the batches of ``loader``, which ``close`` closes.

        ``form`` makes what is yielded of a Batch, instead of a tuple. ``collate_fn`` makes it of a list of
        (image, label), as torch's does, which is slower.
        ``even_batches`` gives all ranks the same number of samples: those that have one less repeat their last.
        """
        batches = Batches(loader, as_pairs if collate_fn else form or as_tuple, even_batches)
        sampler = BatchTickets(batches)
        # A generator of its own: making an iterator draws from torch's global one otherwise.
        super().__init__(
            batches, batch_sampler=sampler, collate_fn=collate_fn or unchanged, generator=torch.Generator()
        )
        # torch fixes them when it is constructed, and has None and a SequentialSampler with a batch sampler.
        object.__setattr__(self, "batch_size", sampler.batch_size)
        object.__setattr__(self, "drop_last", sampler.drop_last)
        object.__setattr__(self, "sampler", sampler.sampler)
        self.batches = batches

    @property
    def loader(self) -> Loader:
        return self.batches.position.loader

    @property
    def classes(self) -> Sequence[str]:
        return self.loader.classes

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. A position in this epoch that was loaded is kept."""
        self.batches.position.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        return self.loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches.position.load_state_dict(state_dict)

    def close(self) -> None:
        self.loader.close()


class Ticket(NamedTuple):
    """One batch of an iteration."""

    run: int
    """Number of the iteration."""
    place: Place
    """Where the iteration begins."""
    number: int
    """Number of the batch in it."""


class Batches(Dataset[Any]):
    """The data set of a TorchDataLoader: single samples by index, and whole batches by ticket."""

    def __init__(self, loader: Loader, form: Callable[[Batch], Any], even: bool = False) -> None:
        self.position = Position(loader)
        self._source = Evened(self.position) if even else self.position
        self._form = form
        self._run = 0
        self._running: Iterator[Batch] = iter(())

    def __len__(self) -> int:
        """Return the number of samples of all ranks."""
        return self.position.loader.samples

    def __getitem__(self, index: int) -> Pair:
        return self.position.loader.dataset[index]

    def __getitems__(self, wanted: list[Any]) -> Any:
        """Return the batch of a ticket, which must be the next of its iteration; or the samples of indexes."""
        if not isinstance(wanted[0], Ticket):
            return [self[index] for index in wanted]
        refuse_worker(get_worker_info())
        ticket = wanted[0]
        if ticket.run < self._run:
            raise LoaderError(
                "this iteration has ended, because a new iteration of the loader was begun; iterate the loader again"
            )
        if ticket.run > self._run:
            # A first ticket with another number: the batches before were skipped, counted from the epoch's beginning.
            spec, place = self.position.loader.spec, ticket.place
            skipped = Place(place.epoch, ticket.number * spec.batch_size * spec.world_size)
            self._run, self._running = ticket.run, self._source.batches(skipped if ticket.number else None)
        return self._form(next(self._running))

    @property
    def batch_count(self) -> int:
        """The number of batches in an epoch of this rank."""
        return len(self._source)

    @property
    def ended(self) -> bool:
        """Whether the batch that was taken last is the last of its epoch."""
        return self._source.ended


class BatchTickets(Sampler[list[Ticket]]):
    """The batch sampler of a TorchDataLoader: a ticket for each batch."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._runs = 0
        spec = batches.position.loader.spec
        self.batch_size, self.drop_last, self.sampler = spec.batch_size, spec.drop_last, Share(batches)

    def __len__(self) -> int:
        return self._batches.batch_count

    def __iter__(self) -> Iterator[list[Ticket]]:
        self._runs += 1
        run, place = self._runs, self._batches.position.next
        for number in range(len(self)):
            yield [Ticket(run, place, number)]

    def set_epoch(self, epoch: int) -> None:
        self._batches.position.set_epoch(epoch)


class Share(DistributedSampler[Any]):
    """The share of a rank, for code that asks for its length or sets its epoch. The loader has the order."""

    def __init__(self, batches: Batches) -> None:
        spec = batches.position.loader.spec
        super().__init__(
            batches,
            num_replicas=spec.world_size,
            rank=spec.rank,
            shuffle=spec.shuffle,
            seed=spec.seed,
            drop_last=spec.drop_last,
        )
        self._batches = batches
        self._whole = spec.batch_size if spec.drop_last else None

    def __len__(self) -> int:
        """Return the number of samples, rounded up to be the same for all ranks."""
        return len(self._batches.position.loader) * self._whole if self._whole else super().__len__()

    def __iter__(self) -> Iterator[Any]:
        raise LoaderError("the sample order belongs to the feedline loader; iterate the loader, not its sampler")

    def set_epoch(self, epoch: int) -> None:
        self._batches.position.set_epoch(epoch)


def as_tuple(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    return batch.images, batch.labels


def as_pairs(batch: Batch) -> list[Pair]:
    """Return the samples of a batch: views of its images, and labels as int."""
    return list(zip(batch.images, cast(list[int], batch.labels.tolist()), strict=True))


def unchanged(batch: Any) -> Any:
    """Return the batch that ``Batches`` made, where torch would collate samples."""
    return batch
