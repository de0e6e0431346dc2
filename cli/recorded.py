"""Which loader earlier benchmarks call the fastest: the seam between bench records and the trainer.

Training may not know of benchmarks, and both are known here. A record counts only where it is of this machine,
these pictures and this picture size: another machine's winner is a guess.
"""

from pathlib import Path

from ..benchmarks import capture, read_records, tabulate
from ..benchmarks.data import describe
from ..loaders import LOADERS, readable_loaders
from ..train import Choice


def fastest_recorded(place: Path, root: Path, image_size: int) -> Choice | None:
    """Return the fastest loader of the records in ``place`` that can train on ``root``; None where none applies.

    Raises MeasurementError for what is no record, DatasetError for a root that cannot be read.
    """
    machine, data = capture().machine, describe(root, "train")
    trainable = [name for name in readable_loaders(root) if LOADERS[name].covers_epoch]
    records = [
        record
        for record in read_records([place])
        if record.environment.machine == machine
        and record.data.manifest_sha256 == data.manifest_sha256
        and (record.config.split, record.config.transform, record.config.image_size) == ("train", "train", image_size)
        and record.loader in trainable
    ]
    verdicts = [table.verdict for table in tabulate(records) if table.verdict] if records else []
    if not verdicts:
        return None
    return Choice(loader=verdicts[0].loader, workers=verdicts[0].workers, reason=verdicts[0].sentence)
