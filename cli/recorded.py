"""Which loader earlier benchmarks call the fastest: the seam between bench records and the trainer.

Training may not know of benchmarks, and both are known here. A record counts only where it is of this machine,
these images and this image size: another machine's winner is a guess.
"""

from pathlib import Path

from ..benchmarks import capture, read_records, tabulate
from ..benchmarks.measuring.dataset import describe
from ..loaders import LOADERS, LoaderSpec, readable_loaders
from ..train import Choice, TrainConfig


def fastest_recorded(place: Path, config: TrainConfig) -> Choice | None:
    """Return the fastest loader of the records in ``place`` that can train as asked; None where none applies.

    Raises MeasurementError for what is no record, DatasetError for a root that cannot be read.
    """
    machine, data = capture().machine, describe(config.root, "train")
    trainable = [name for name in readable_loaders(config.root) if LOADERS[name].covers_epoch]
    asked = ("train", "train", config.image_size, config.decode, config.dct_scaling)
    records = [
        record
        for record in read_records([place])
        if record.environment.machine == machine
        and record.data.manifest_sha256 == data.manifest_sha256
        and _asked(record.config) == asked
        and record.loader in trainable
    ]
    verdicts = [table.verdict for table in tabulate(records) if table.verdict] if records else []
    if not verdicts:
        return None
    return Choice(loader=verdicts[0].loader, workers=verdicts[0].workers, reason=verdicts[0].sentence)


def _asked(spec: LoaderSpec) -> tuple[object, ...]:
    return spec.split, spec.transform, spec.image_size, spec.decode, spec.dct_scaling
