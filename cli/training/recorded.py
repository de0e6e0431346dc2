"""The fastest loader of earlier benchmarks, for ``feedline train --loader auto``.

``train`` cannot import ``benchmarks``, and the command line can import both. A record counts only if it is of this
machine, these images and this image size, because the fastest loader may be another one elsewhere. This module imports
both at the top, so a command imports it in a function.
"""

from pathlib import Path

from ...benchmarks import capture, read_records, tabulate
from ...benchmarks.measuring.dataset import describe
from ...loaders import LOADERS, LoaderSpec, honours, readable_loaders
from ...train import Choice, TrainConfig
from ...train.data import loader_spec
from ...train.ranks import Ranks


def fastest_recorded(place: Path, config: TrainConfig) -> Choice | None:
    """Return the fastest loader of the records in ``place`` that can train as configured, None if no record applies.

    Raises MeasurementError for a file that is not a record, DatasetError for a root that cannot be read.
    """
    machine, data = capture().machine, describe(config.root, "train")
    needs = loader_spec(config, Ranks(), "train")
    trainable = [name for name in readable_loaders(config.root) if LOADERS[name].covers_epoch and honours(name, needs)]
    wanted = ("train", "train", config.image_size, config.decode, config.dct_scaling, config.pixels)
    records = [
        record
        for record in read_records([place])
        if record.environment.machine == machine
        and record.data.manifest_sha256 == data.manifest_sha256
        and _settings(record.config) == wanted
        and record.loader in trainable
    ]
    verdicts = [table.verdict for table in tabulate(records) if table.verdict] if records else []
    if not verdicts:
        return None
    return Choice(loader=verdicts[0].loader, workers=verdicts[0].workers, reason=verdicts[0].sentence)


def _settings(spec: LoaderSpec) -> tuple[object, ...]:
    return spec.split, spec.transform, spec.image_size, spec.decode, spec.dct_scaling, spec.pixels
