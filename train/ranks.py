"""The ranks of one training, started by torchrun: joining them, adding up their counts, and ending together.

Each rank has its own share of the data, and torch's DistributedDataParallel averages the gradients. This module does
the rest:

- Counts are added up, never averaged, so that metrics equal those of one process.
- All ranks take a step or none does. Before each step they exchange whether they have a batch and whether a signal
  has requested a stop. So Ctrl-C ends all ranks at the same step, and an image that one rank cannot read ends all.
- When a rank dies, the error on the others names it. The error of a broken connection does not.
"""

import gc
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # pyright: ignore[reportPrivateImportUsage]  # documented
from torch.distributed.rendezvous import rendezvous

from ..loaders.launch import Launch, check_master, read_launch
from ..prep import LoaderError, TrainingError
from ..prep.limits.memory import failed_allocation
from .metrics import NotFinite

T = TypeVar("T")

# A dead rank closes its connections, which ends a wait at once. This timeout is for a rank that is alive and does not
# respond. The longest legitimate wait is for rank 0 to write a checkpoint to a slow disk.
TIMEOUT = timedelta(minutes=10)
SIGNAL_SECONDS = 1.0
EXCHANGING = ("torch/distributed/", "torch/nn/parallel/", "torch/autograd/")
"""The code that exchanges tensors with other ranks."""
CHECK_IN_SECONDS = 10.0  # time for every live rank to check in before the others count as dead


class LostRank(TrainingError):
    """Another rank has ended, for a reason that the message has."""

    def __init__(self, message: str, *, diverged: bool = False) -> None:
        """``diverged`` says whether the reason is a loss that is not finite, after which nothing is saved."""
        super().__init__(message)
        self.diverged = diverged


class DeadRank(LostRank):
    """Another rank has died. The message has no next step, because only the run's directory shows which it is."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among the processes that train together. The default is one process alone."""

    rank: int = 0
    size: int = 1
    local_size: int = 1
    """Number of ranks on this machine, which share its CPUs."""
    device: str = "cpu"
    """The torch device of this rank."""
    store: Any = None
    """torch's key-value store, which all ranks can reach; None for one process alone."""
    group: Any = None
    """The process group in which the ranks exchange numbers on the CPU: on a GPU, one that does not wait for it."""

    def total(self, values: list[float]) -> list[float]:
        """Return the sums over all ranks, in float64; every rank must call this with the same number of values."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64, device="cpu")
        with self.lost_rank_named():
            dist.all_reduce(sums, group=self.group)
        return sums.tolist()

    def copy_from_rank_0(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite the tensors of every rank with those of rank 0."""
        if self.size > 1:
            with self.lost_rank_named():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def made_by_rank_0(self, name: str, make: Callable[[], str]) -> str:
        """Return, on every rank, the string that ``make`` returns on rank 0. ``name`` is its key in the store."""
        key = f"feedline/made/{name}"
        if self.rank == 0:
            made = make()
            if self.size > 1:
                self.store.set(key, made)
            return made
        with self.lost_rank_named():
            while not self.store.check([key]):
                if self.store.check(["feedline/ended/0"]):
                    raise RuntimeError("rank 0 ended")
                time.sleep(0.1)
            return self.store.get(key).decode("utf-8")

    def in_lockstep(
        self, batches: Iterable[T], stopping: Callable[[], bool], usable: Callable[[T], bool]
    ) -> Iterator[T | None]:
        """Yield a batch when every rank has one, or None on every rank if one of these is not ``usable``.

        When the first rank has no more, the iteration ends on all.

        Raises KeyboardInterrupt on every rank at the same batch if ``stopping`` returns true on one. If one rank
        cannot get its batch, it raises the error of ``batches``, and the others raise TrainingError.
        """
        if self.size == 1:
            for batch in batches:
                yield batch if usable(batch) else None
            return
        iterator, done = iter(batches), object()
        while True:
            batch: T | object = done
            failure: Exception | None = None
            try:
                batch = next(iterator, done)
            except Exception as error:
                failure = error
                if not _stops_soon(stopping):
                    self.announce_end(error)
            useless = failure is None and batch is not done and not usable(cast(T, batch))
            failed, stopped, finished, unused = self.total([failure is not None, stopping(), batch is done, useless])
            if stopped:
                raise KeyboardInterrupt
            if failure is not None:
                raise failure
            if failed:
                lost = self._lost_rank()  # all ranks are still here, so that it is no LostRank
                raise TrainingError("another rank failed" if lost is None else str(lost))
            if finished:
                return
            yield None if unused else cast(T, batch)

    @contextmanager
    def lost_rank_named(self) -> Generator[None, None, None]:
        """Turn the error of a broken connection into a TrainingError that names the rank that ended or died.

        An error of this rank's own stays what it is: the others wait for it, and would count as dead.
        """
        try:
            yield
        except RuntimeError as error:
            lost = self._lost_rank() if self.size > 1 and not _is_own(error) else None
            if lost is None:
                raise
            raise lost from error

    def announce_end(self, error: BaseException) -> None:
        """Store the error that ends this rank, for the messages of the other ranks."""
        with suppress(RuntimeError):  # the rank that holds the store may have ended
            if diverged(error):
                self.store.set(f"feedline/diverged/{self.rank}", "1")
            reason = str(error) or type(error).__name__  # a path in it may not be UTF-8
            self.store.set(f"feedline/ended/{self.rank}", reason.encode("utf-8", "replace").decode("utf-8"))

    def _lost_rank(self) -> LostRank | None:
        """Return the error that names the first rank that has ended or died; None if all are alive."""
        try:
            self.store.set(f"feedline/here/{self.rank}", "1")
            others = set(range(self.size)) - {self.rank}
            deadline = time.monotonic() + CHECK_IN_SECONDS
            while True:
                ended = [rank for rank in sorted(others) if self.store.check([f"feedline/ended/{rank}"])]
                if ended:
                    reason = self.store.get(f"feedline/ended/{ended[0]}").decode("utf-8", "replace")
                    sentence = f"rank {ended[0]} ended ({reason}), so rank {self.rank} ends too"
                    return LostRank(sentence, diverged=self.store.check([f"feedline/diverged/{ended[0]}"]))
                missing = [rank for rank in sorted(others) if not self.store.check([f"feedline/here/{rank}"])]
                if not missing:
                    return None
                if time.monotonic() > deadline:
                    return _death_of(missing[0], self.rank)
                time.sleep(0.1)
        except RuntimeError:  # rank 0 holds the store unless torchrun does
            return _death_of(0, self.rank)


def diverged(error: BaseException) -> bool:
    """Return whether a run ended by a loss that is not finite, on this rank or another one."""
    return isinstance(error, NotFinite) or (isinstance(error, LostRank) and error.diverged)


def _stops_soon(stopping: Callable[[], bool]) -> bool:
    """Return whether ``stopping`` becomes true within a second.

    Ctrl-C reaches the loader's workers too, and the failure of a worker may be detected before the signal.
    """
    deadline = time.monotonic() + SIGNAL_SECONDS
    while not stopping() and time.monotonic() < deadline:
        time.sleep(0.01)
    return stopping()


def _is_own(error: RuntimeError) -> bool:
    """Return whether an error comes from this rank's computing, and not from the exchange with the other ranks.

    Gradients are exchanged inside the backward pass, whose errors have no place of their own in a traceback.
    """
    if failed_allocation(error) or str(error).startswith("CUDA error"):
        return True
    if any(library in str(error) for library in ("gloo", "NCCL")):
        return False
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    file = "" if place is None else place.tb_frame.f_code.co_filename
    return file != __file__ and not any(folder in Path(file).as_posix() for folder in EXCHANGING)


def _death_of(dead: int, rank: int) -> DeadRank:
    return DeadRank(f"rank {dead} died without an error message (killed, or out of memory?), so rank {rank} ends too")


@contextmanager
def joined_ranks(device: str) -> Generator[Ranks, None, None]:
    """Join the ranks that torchrun started, by its environment variables; without them, this process is alone.

    ``cuda`` becomes the GPU of this rank. Raises TrainingError if the ranks cannot connect to each other.
    """
    try:
        launch = read_launch()
        if launch.size > 1:
            check_master(launch.size)
    except LoaderError as error:
        raise TrainingError(str(error)) from error
    if device == "cuda" and (launch.size > 1 or launch.local_rank is not None):
        device = f"cuda:{launch.local_rank or 0}"
        torch.cuda.set_device(device)
    if launch.size == 1:  # no connection, which a cluster's MASTER_ADDR could only break
        yield Ranks(device=device)
        return
    ranks = _connect(device, launch)
    try:
        yield ranks
    except BaseException as error:
        ranks.announce_end(error)
        raise
    # A model that is still referenced keeps gloo's threads alive. A gloo thread that releases a tensor while Python
    # shuts down aborts the process ("terminate called without an active exception").
    gc.collect()
    dist.destroy_process_group()


def _connect(device: str, launch: Launch) -> Ranks:
    backend = "nccl" if device.startswith("cuda") else "gloo"
    try:
        shared, rank, size = next(iter(rendezvous("env://", timeout=TIMEOUT)))
        # torchrun may keep its store, with what the ranks wrote before it started them again.
        store = PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", shared)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        reason = str(error).partition("\n")[0]
        taken = "in use" in str(error) or "EADDRINUSE" in str(error)
        step = "choose another port with torchrun --master-port"
        if not taken:
            step = f"check that all {launch.size} ranks run, and that rank 0 can be reached there"
        raise TrainingError(f"the ranks cannot connect at {place}: {reason}; {step}") from error
    local_size = launch.local_size
    group = dist.new_group(backend="gloo", timeout=TIMEOUT) if backend == "nccl" else None
    return Ranks(rank=rank, size=size, local_size=local_size, device=device, store=store, group=group)
