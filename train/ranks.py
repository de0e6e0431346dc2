"""Several processes that train one model: torchrun's ranks, and what they must agree on.

Each rank has its own share of the data, and torch's DistributedDataParallel averages the gradients. Three things
are left to see to. Counts are added up, never averaged, so that metrics are what one process would have counted.
All ranks take a step or none does: before each one they tell each other whether they have a batch and whether
they were asked to stop, so that Ctrl-C ends them at the same step and an image that one cannot read ends them
all. And when one dies, the others say which: the error of a broken connection does not.
"""

import gc
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from ..prep import TrainingError

T = TypeVar("T")

# A dead rank closes its connections, which ends a wait at once. This is for one that lives and does nothing; the
# longest honest wait is for rank 0 to write a checkpoint to a slow disk.
TIMEOUT = timedelta(minutes=10)
SIGNAL_SECONDS = 1.0
GONE_SECONDS = 10.0  # to let every living rank sign on before the others count as dead


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train together. The default is one process alone."""

    rank: int = 0
    size: int = 1
    local_size: int = 1
    """How many of them are on this machine and share its CPUs."""
    device: str = "cpu"
    """The torch device of this rank."""
    store: Any = None
    """torch's key-value store, which all ranks can reach."""

    def total(self, values: list[float]) -> list[float]:
        """Return the sums over all ranks, in float64; every rank must call this with as many values."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        with self.naming_the_dead():
            dist.all_reduce(sums)
        return sums.tolist()

    def copy_from_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite the tensors of every rank with those of rank 0."""
        if self.size > 1:
            with self.naming_the_dead():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def from_first(self, name: str, make: Callable[[], str]) -> str:
        """Return what rank 0 makes, on every rank."""
        key = f"feedline/made/{name}"
        if self.rank == 0:
            made = make()
            if self.size > 1:
                self.store.set(key, made)
            return made
        with self.naming_the_dead():
            while not self.store.check([key]):
                if self.store.check(["feedline/ended/0"]):
                    raise RuntimeError("rank 0 ended")
                time.sleep(0.1)
            return self.store.get(key).decode("utf-8")

    def in_lockstep(self, batches: Iterable[T], stopping: Callable[[], bool]) -> Iterator[T]:
        """Yield a batch when every rank has one. ``batches`` must be equally many on all ranks.

        Raises KeyboardInterrupt on every rank at the same batch when ``stopping`` is true on one, and
        TrainingError on the others when one fails to get its batch.
        """
        if self.size == 1:
            yield from batches
            return
        iterator, done = iter(batches), object()
        while True:
            batch: T | object = done
            failure: Exception | None = None
            try:
                batch = next(iterator, done)
            except Exception as error:
                failure = error
                # Ctrl-C reaches the loader's workers too, and their death may be seen before the signal.
                deadline = time.monotonic() + SIGNAL_SECONDS
                while not stopping() and time.monotonic() < deadline:
                    time.sleep(0.01)
                if not stopping():
                    self.sign_off(error)
            failed, stopped = self.total([failure is not None, stopping()])
            if stopped:
                raise KeyboardInterrupt
            if failure is not None:
                raise failure
            if failed:
                raise TrainingError(self._who_is_gone() or "another rank failed")
            if batch is done:
                return
            yield batch  # pyright: ignore[reportReturnType]  (not ``done``)

    @contextmanager
    def naming_the_dead(self) -> Generator[None, None, None]:
        """Turn the error of a broken connection into a TrainingError that names the rank which broke it."""
        try:
            yield
        except RuntimeError as error:
            gone = self._who_is_gone() if self.size > 1 else None
            if gone is None:
                raise
            raise TrainingError(gone) from error

    def sign_off(self, error: BaseException) -> None:
        """Tell the other ranks why this one ends."""
        with suppress(RuntimeError):  # the rank that holds the store may be gone
            self.store.set(f"feedline/ended/{self.rank}", str(error) or type(error).__name__)

    def _who_is_gone(self) -> str | None:
        """Return a sentence on the first rank that has ended or died; None when all are there."""
        try:
            self.store.set(f"feedline/here/{self.rank}", "1")
            others = set(range(self.size)) - {self.rank}
            deadline = time.monotonic() + GONE_SECONDS
            while True:
                ended = [rank for rank in sorted(others) if self.store.check([f"feedline/ended/{rank}"])]
                if ended:
                    reason = self.store.get(f"feedline/ended/{ended[0]}").decode("utf-8", "replace")
                    return f"rank {ended[0]} ended ({reason}), so rank {self.rank} ends too"
                missing = [rank for rank in sorted(others) if not self.store.check([f"feedline/here/{rank}"])]
                if not missing:
                    return None
                if time.monotonic() > deadline:
                    return _died(missing[0], self.rank)
                time.sleep(0.1)
        except RuntimeError:  # rank 0 holds the store unless torchrun does
            return _died(0, self.rank)


def _died(dead: int, rank: int) -> str:
    return (
        f"rank {dead} died without a word (killed, or out of memory?), so rank {rank} ends too; "
        "continue the run with --resume"
    )


@contextmanager
def joined_ranks(device: str) -> Generator[Ranks, None, None]:
    """Join the ranks that torchrun started, by its environment variables; alone where there are none.

    ``cuda`` becomes the GPU of this rank. Raises TrainingError when the ranks cannot reach each other.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Ranks(device=device)
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    ranks = _connect(device)
    try:
        yield ranks
    except BaseException as error:
        ranks.sign_off(error)
        raise
    # A model that is still held here keeps gloo's threads; one that lets go of a tensor while Python shuts down
    # aborts the process ("terminate called without an active exception").
    gc.collect()
    dist.destroy_process_group()


def _connect(device: str) -> Ranks:
    backend = "nccl" if device.startswith("cuda") else "gloo"
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=TIMEOUT)))
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        reason = str(error).partition("\n")[0]
        raise TrainingError(
            f"the ranks cannot meet at {place}: {reason}; choose another port with torchrun --master-port"
        ) from error
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return Ranks(rank=rank, size=size, local_size=local_size, device=device, store=store)
