"""One training, from its settings to its result: ranks, loader, data, then all epochs."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

import torch

from ..prep import Progress, TrainingError, silent
from .choose import Choice, choose_loader
from .config import TrainConfig, check_device, resolved
from .data import OpenData, open_data
from .interrupts import sigterm_interrupts
from .ranks import Ranks, joined_ranks
from .result import TrainResult
from .trainer import Trainer


def train(
    config: TrainConfig, progress: Progress = silent, tell: Callable[[str], None] = lambda _: None
) -> TrainResult:
    """Train, and write the run directory ``config.out``. Under torchrun, train together with the other ranks.

    ``tell`` is given a sentence on the loader that was chosen before the first step.

    Raises TrainingError for settings, a loss, a rank or a checkpoint that cannot be used, OutputError for the
    directory, DatasetError and LoaderError for the data. KeyboardInterrupt (Ctrl-C, SIGTERM) passes through once
    ``last.pt`` has the place.
    """
    check_device(config.device)
    with sigterm_interrupts(), joined_ranks(config.device) as ranks, _own_randomness(config, ranks):
        config = resolved(_with_loader(config, ranks, progress, tell), ranks.size)
        with open_data(config, ranks) as data, _explained(config):
            return _trained(config, data, ranks, progress if ranks.rank == 0 else silent)


def _trained(config: TrainConfig, data: OpenData, ranks: Ranks, progress: Progress) -> TrainResult:
    """Run to the end, in a frame of its own: the model is gone when the ranks part."""
    run = Trainer(config, data, ranks, progress)
    try:
        run.to_the_end()
    finally:
        run.close()
    return run.result()


def _with_loader(config: TrainConfig, ranks: Ranks, progress: Progress, tell: Callable[[str], None]) -> TrainConfig:
    """Return the config with a loader and its workers, the same on all ranks."""
    chosen = ranks.from_first("loader", lambda: json.dumps(vars(choose_loader(config, ranks, progress))))
    choice = Choice(**json.loads(chosen))
    if ranks.rank == 0:
        tell(choice.sentence)
    return replace(config, loader=choice.loader, workers=choice.workers)


@contextmanager
def _own_randomness(config: TrainConfig, ranks: Ranks) -> Generator[None, None, None]:
    """Seed torch's generators for the run, and leave them as they were."""
    with torch.random.fork_rng(devices=[ranks.device] if ranks.device.startswith("cuda") else []):
        torch.manual_seed(config.seed)
        yield


@contextmanager
def _explained(config: TrainConfig) -> Generator[None, None, None]:
    """Say in one sentence what torch tells in many lines."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            f"a batch of {config.batch_size} does not fit into the memory of {config.device}; "
            "use a larger --accumulate or a smaller --batch-size"
        ) from error
    except RuntimeError as error:
        if config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise TrainingError(f"torch.compile failed ({_first_line(error)}); train without --compile") from error
        raise


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
