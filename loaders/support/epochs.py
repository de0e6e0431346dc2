"""The position of a loader in its epochs."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

from ...prep import LoaderError
from ..batch import Batch
from ..spec import LoaderSpec


class Cursor:
    """The epoch of a loader and the position in it, in memory and as a state to resume from.

    The position is the number of samples that all ranks together have yielded. Loops differ in how they end an epoch:
    some exhaust the iterator, some count the batches, some leave early. So an epoch is begun when its first batch is
    yielded, and ends when its last batch is yielded, not when the iterator raises StopIteration. A new iteration takes
    the epoch after the last one that was begun, unless a state was loaded or an epoch was set.
    """

    def __init__(self, spec: LoaderSpec, *, elastic: bool = False) -> None:
        """Begin at epoch 0. ``elastic`` loaders can resume with another batch size or world size; the others raise."""
        self._promise = {"seed": spec.seed}
        if not elastic:
            self._promise |= {"batch_size": spec.batch_size, "world_size": spec.world_size}
        self._step = spec.batch_size * spec.world_size
        self._epoch = 0
        self._samples = 0
        self._next = (0, 0)
        """The epoch and position at which the next iteration begins."""
        self._running: Iterator[Batch] | None = None
        """The batches of the iteration under way. There is one at most, because workers and pipelines serve one."""
        self._why_ended = ""
        self._marks: Callable[[int, int], dict[str, Any]] = lambda epoch, samples: {}

    def mark(self, marks: Callable[[int, int], dict[str, Any]]) -> None:
        """Add ``marks(epoch, samples)`` to saved states, and refuse a state whose marks differ."""
        self._marks = marks

    @property
    def epoch(self) -> int:
        """The epoch under way, or the one that comes next."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        self._move(epoch, 0)
        self.end("set_epoch was called")

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self._epoch,
            "samples": self._samples,
            **self._promise,
            **self._marks(self._epoch, self._samples),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``.

        Raises LoaderError for another seed or choice of samples, or batch or world size if not elastic.
        """
        for name, value in self._promise.items():
            if state.get(name, value) != value:
                raise LoaderError(
                    f"cannot resume: the state has {name} {state[name]}, the loader has {value}; "
                    f"open the loader with the same {name}"
                )
        try:
            epoch, samples = int(state["epoch"]), int(state["samples"])
        except (KeyError, TypeError, ValueError) as error:
            raise LoaderError(
                f"cannot resume: {state} is not the state of a loader; pass what state_dict() returned"
            ) from error
        self._require_same_samples(state, self._marks(epoch, samples))
        self._move(epoch, samples)
        self.end("load_state_dict was called")

    def end(self, why: str) -> None:
        """End the iteration under way and what it began ahead: its next batch is a LoaderError that says ``why``."""
        running, self._running, self._why_ended = self._running, None, why
        if isinstance(running, Generator):
            running.close()

    def run(self, batches: Callable[[int, int], Iterator[Batch]], remaining: Callable[[int], int]) -> Iterator[Batch]:
        """Return an iterator over ``batches(epoch, samples that all ranks have yielded)``, which counts the samples.

        ``remaining`` returns the number of batches that this rank has left after so many samples of all ranks.
        """
        self.end("a new iteration of the loader was begun")
        epoch, samples = self._next
        self._running = found = batches(epoch, samples)
        return self._count(found, epoch, samples, remaining(samples))

    def _count(self, found: Iterator[Batch], epoch: int, samples: int, remaining: int) -> Iterator[Batch]:
        for batch in self._while_running(found):
            samples, remaining = samples + self._step, remaining - 1
            if remaining:
                self._epoch, self._samples, self._next = epoch, samples, (epoch + 1, 0)
            else:
                self._move(epoch + 1, 0)
            yield batch
        if self._running is found and self._epoch == epoch:  # an epoch without a batch is over too
            self._move(epoch + 1, 0)

    def _while_running(self, found: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            if self._running is not found:
                raise LoaderError(f"this iteration has ended, because {self._why_ended}; iterate the loader again")
            try:
                batch = next(found)
            except StopIteration:
                return
            except SystemError as error:  # what numba makes of a Ctrl-C that arrives inside a compiled function
                if isinstance(error.__cause__, KeyboardInterrupt):
                    raise KeyboardInterrupt from error
                raise
            yield batch

    def _require_same_samples(self, state: dict[str, Any], marks: dict[str, Any]) -> None:
        if state.get("choice") != marks.get("choice"):
            raise LoaderError(
                "cannot resume: the state was saved by a loader that chose other samples; "
                "open the loader with the same indices, classes, weights, sampler and repeat"
            )
        if state.get("order") != marks.get("order"):
            raise LoaderError(
                f"cannot resume within epoch {state['epoch']}: the sampler yields another order than before the state "
                "was saved; let its order depend on set_epoch or torch's global generator only, or begin the next "
                f"epoch with set_epoch({int(state['epoch']) + 1})"
            )
        if state.get("window") != marks.get("window"):
            raise LoaderError(
                f"cannot resume within epoch {state['epoch']}: it was read {_windows(state)}, and this loader reads "
                f"{_windows(marks)}; resume with the root or URL that it began with, or begin the next epoch with "
                f"set_epoch({int(state['epoch']) + 1})"
            )
        if "world_size" in marks and state.get("world_size") != marks["world_size"]:
            raise LoaderError(
                f"cannot resume: the state has world_size {state.get('world_size')}, the sampler has "
                f"{marks['world_size']} ranks; open the loader with the same world_size"
            )

    def _move(self, epoch: int, samples: int) -> None:
        self._epoch, self._samples, self._next = epoch, samples, (epoch, samples)


def _windows(marks: dict[str, Any]) -> str:
    """Return how samples are mixed, in words."""
    return f"in windows of {marks['window']} shards" if "window" in marks else "in one order over all shards"
