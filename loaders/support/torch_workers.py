"""Start, iterate and end torch's DataLoader and its worker processes, for the loaders that use it.

Workers persist between epochs, because starting one imports torch, which takes a second or more under spawn (Windows).
So all data that change with the epoch must be sent with the requests, never in the pickled data set.
"""

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ..spec import LoaderSpec
from ..transforms.calls import require_picklable


def start_data_loader(dataset: Dataset[Any], spec: LoaderSpec, **options: Any) -> DataLoader[Any]:
    """Return torch's DataLoader with the spec's workers; ``options`` are DataLoader's own.

    Raises LoaderError for a sample transform that cannot be sent to the workers.
    """
    if spec.workers and spec.sample_transform is not None:
        require_picklable("sample_transform", spec.sample_transform)
    with _no_advice():
        return DataLoader(
            dataset,
            num_workers=spec.workers,
            persistent_workers=spec.workers > 0,
            pin_memory=spec.device.startswith("cuda"),
            # DataLoader draws a seed for its workers in every epoch. From torch's own generator, that would change the
            # random numbers of the caller's loop, and with some loaders only.
            generator=torch.Generator(device="cpu"),
            **options,
        )


def items_of(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the items that the workers return.

    An exception in the middle, such as KeyboardInterrupt, ends the workers, because torch's queues can then hold
    answers that belong to no request. The next call starts others.
    """
    try:
        with _no_advice(), torch.device("cpu"):  # DataLoader's own tensors, whatever torch.set_default_device says
            iterator = iter(loader)
        yield from iterator
    except GeneratorExit:  # the caller left early; torch drops what is under way when it begins again
        raise
    except BaseException:
        end_data_loader(loader)
        raise


def end_data_loader(loader: DataLoader[Any]) -> None:
    """End the worker processes now, and not when the garbage collector runs."""
    # torch has no public call for this; a test checks that no process is left.
    iterator: Any = loader._iterator  # pyright: ignore[reportPrivateUsage]
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()
    loader._iterator = None  # pyright: ignore[reportPrivateUsage]


@contextmanager
def _no_advice() -> Generator[None, None, None]:
    """Silence torch's warning about more than one worker per CPU: `feedline bench` measures how many are useful."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        yield
