"""The result tables of README and docs, in Markdown, made from committed records only.

Each function takes the folder of the records and returns its text, or an empty string if there is no record for it.
Records of different machines are never compared: each machine has its own table or line, which names it. Of documents
that hold a whole comparison, only the newest of each machine counts. All bench records of a machine count.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Protocol, TypeVar

from pydantic import TypeAdapter

from ...prep import read_document
from ...train.history import EpochRecord
from ..bench.scaling import tabulate_speeds
from ..bench.training_speed import SpeedRecord
from ..faults.record import FaultsRecord
from ..faults.table import heading as faults_heading, table as faults_table
from ..machine.environment import Environment
from ..remote.record import RemoteRecord, link_of, table as remote_table
from ..results.ranking import CEILING
from ..scale.record import ScaleRecord, cores_table, cost_table, mixing_table, opening_table
from .accuracy import AccuracyRecord, agreement
from .columns_cost import ColumnsRecord, table as columns_table
from .fused_fuzz import FuzzRecord, table as fuzz_table
from .listing import ListingRecord, table as listing_table
from .loader_markdown import cold, loaders, machine_name, peers, small_peers
from .loops import LoopsRecord, table as loops_table
from .prediction_check import Check, tabulate_check
from .preparation import PreparationRecord, Split, table as preparation_table
from .progressive import ProgressiveRecord, table as progressive_table
from .sharding import ShardingRecord, table as sharding_table
from .threaded import ThreadedRecord, findings, table as threaded_table
from .threaded_orders import OrdersRecord, table as orders_table
from .whole_images import WholeImagesRecord, table as whole_table


class _Dated(Protocol):
    @property
    def date(self) -> str: ...
    @property
    def environment(self) -> Environment: ...


D = TypeVar("D", bound=_Dated)


def preparation(records: Path) -> str:
    """Return the times of preparing archives, of feedline and of other tools."""
    found = _newest(records, "preparation/*.json", PreparationRecord)
    return _sections(found, lambda record: preparation_table(record).strip())


def sharding(records: Path) -> str:
    """Return the cost of restart markers and of writing shards."""
    return _sections(_newest(records, "sharding/*.json", ShardingRecord), sharding_table)


def progressive(records: Path) -> str:
    """Return what making progressive JPEGs sequential costs and gains."""
    return _sections(_newest(records, "progressive/*.json", ProgressiveRecord), progressive_table)


def accuracy(records: Path) -> str:
    """Return the accuracies through every loader, and whether the loaders agree."""
    return "\n\n".join(
        f"{data}; {_where(record)}:\n\n{agreement(record.runs)}" for data, record in _accuracies(records)
    )


def training_speed(records: Path) -> str:
    """Return images/s of training on each set of devices."""
    found = _newest(records, "**/training-speed.json", SpeedRecord)
    return "\n\n".join(
        f"{_where(record)}; {record.config.model} at {record.config.image_size} px, {record.config.batch_size} "
        f"images per rank, amp {record.config.amp}, {record.steps} steps:\n\n{tabulate_speeds(record.speeds)}"
        for record in found
    )


def threaded(records: Path) -> str:
    """Return the costs of ``threaded`` with its promises."""
    return _sections(_newest(records, "threaded/*.json", ThreadedRecord), threaded_table)


def columns(records: Path) -> str:
    """Return what reading the columns of samples costs."""
    found = _newest(records, "columns/*.json", ColumnsRecord)
    return _sections(found, columns_table, lambda r: f"{len(r.columns)} columns of {r.data.samples:,} samples")


def loops(records: Path) -> str:
    """Return images/s of each project's loop with its own data loading and with ours."""
    return _sections(_newest(records, "loops/*.json", LoopsRecord), loops_table)


def whole_images(records: Path) -> str:
    """Return the times of both decoders on images without tiles, by size."""
    found = _newest(records, "whole-images/*.json", WholeImagesRecord)
    return _sections(
        found,
        lambda record: whole_table(record.rows),
        lambda record: f"{record.images} photographs of each size at quality {record.quality}",
    )


def listing(records: Path) -> str:
    """Return what listing many files takes, in time and memory."""
    return _sections(_newest(records, "listing/*.json", ListingRecord), listing_table)


def orders(records: Path) -> str:
    """Return times and errors of the fused decoder's orders, in one table for each image size."""
    found = _newest(records, "orders/*.json", OrdersRecord, lambda record: record.image_size)
    found.sort(key=lambda record: -record.image_size)
    return _sections(found, orders_table, _decoded_from)


def fuzz(records: Path) -> str:
    """Return what the fused decoder does with damaged images."""
    return _sections(_newest(records, "fuzz/*.json", FuzzRecord), fuzz_table)


def faults(records: Path) -> str:
    """Return what random faults did, and what came out in the end."""
    machines: dict[object, list[FaultsRecord]] = {}
    for record in _newest(records, "faults/*.json", FaultsRecord, lambda record: record.seed):
        machines.setdefault(record.environment.machine, []).append(record)
    return "\n\n".join(
        f"{faults_heading(found)}; {_where(found[-1])}:\n\n{faults_table(found)}" for found in machines.values()
    )


def remote(records: Path) -> str:
    """Return images/s of shards behind a link against local ones, the clients of ranges, and the bytes of rows."""
    return _sections(_newest(records, "remote/*.json", RemoteRecord), remote_table, link_of)


def scale_opening(records: Path) -> str:
    """Return what opening very many samples takes, in time and memory."""
    return _sections(_newest(records, "scale/*.json", ScaleRecord), opening_table)


def scale_mixing(records: Path) -> str:
    """Return how well windows of shards are mixed."""
    return _sections(_newest(records, "scale/*.json", ScaleRecord), mixing_table)


def scale_costs(records: Path) -> str:
    """Return the sizes of large data sets, and what an epoch of them costs behind a URL."""
    found = _newest(records, "scale/*.json", ScaleRecord)
    return cost_table(found[-1]) if found else ""


def scale_cores(records: Path) -> str:
    """Return the cores that feed a GPU, by the times of decoding to 224 pixels on one core."""
    found = [one for one in _newest(records, "orders/*.json", OrdersRecord, _size_of) if one.image_size == 224]
    return _sections(found, lambda record: cores_table({one.name: one.microseconds for one in record.orders[:3]}))


def _size_of(record: OrdersRecord) -> int:
    return record.image_size


def what_if(records: Path) -> str:
    """Return the predicted and the measured rates behind a throttle."""
    return _sections(_newest(records, "what-if/*.json", Check), tabulate_check)


def learning(records: Path) -> str:
    """Return the result of the training on 200 synthetic classes."""
    epochs = _epochs(records)
    if not epochs:
        return ""
    last, seconds = epochs[-1], sum(epoch.seconds for epoch in epochs)
    lines = ["| | loss | top-1 | top-5 |", "|---|---:|---:|---:|"]
    for name, part in (("train, augmented as in training", last.train), ("val", last.val)):
        if part is not None:
            lines.append(f"| {name} | {part.loss:.3f} | {part.top1:.1%} | {part.top5:.1%} |")
    rate = sum(epoch.images for epoch in epochs) / seconds
    after = f"After {last.epoch} epochs in {seconds / 60:.1f} minutes of training, at {rate:.0f} images/s:"
    return "\n".join([after, "", *lines])


def measured(records: Path) -> str:
    """Return README's summary: one line for each claim and machine."""
    rows = [
        *(_preparing(record) for record in _newest(records, "preparation/*.json", PreparationRecord)),
        *(_sharding(record) for record in _newest(records, "sharding/*.json", ShardingRecord)),
        *(_promised(record) for record in _newest(records, "threaded/*.json", ThreadedRecord)),
        *(_decoded(record) for record in _newest(records, "orders/*.json", OrdersRecord, lambda one: one.image_size)),
        *(_damaged(record) for record in _newest(records, "fuzz/*.json", FuzzRecord)),
        *(_foreseen(record) for record in _newest(records, "what-if/*.json", Check)),
        *(_agreeing(data, record) for data, record in _accuracies(records)),
        *(row for record in _newest(records, "**/training-speed.json", SpeedRecord) for row in _training(record)),
        *_learnt(_epochs(records)),
    ]
    return "\n".join(["| what | where | result | command, details |", "|---|---|---|---|", *rows]) if rows else ""


TABLES: dict[str, Callable[[Path], str]] = {
    "loaders": loaders,
    "cold": cold,
    "peers": peers,
    "small-peers": small_peers,
    "preparation": preparation,
    "sharding": sharding,
    "progressive": progressive,
    "accuracy": accuracy,
    "training-speed": training_speed,
    "threaded": threaded,
    "columns": columns,
    "loops": loops,
    "whole-images": whole_images,
    "listing": listing,
    "orders": orders,
    "fuzz": fuzz,
    "faults": faults,
    "remote": remote,
    "scale-opening": scale_opening,
    "scale-mixing": scale_mixing,
    "scale-costs": scale_costs,
    "scale-cores": scale_cores,
    "what-if": what_if,
    "learning": learning,
    "measured": measured,
}
"""The function that makes each table, by the name in the table's markers."""


def _preparing(record: PreparationRecord) -> str:
    seconds: dict[str, dict[Split, list[float]]] = {}
    for run in record.runs:
        seconds.setdefault(run.tool, {}).setdefault(run.split, []).append(run.seconds)
    times: dict[str, dict[Split, float]] = {
        tool: {split: median(runs) for split, runs in found.items()} for tool, found in seconds.items()
    }
    spreads = [(max(runs) - min(runs)) / median(runs) for found in seconds.values() for runs in found.values()]
    ours = times["feedline"]
    against = [
        f"{' and '.join(f'{time[split] / ours[split]:.1f}' for split in ours)} times as fast as {tool}"
        for tool, time in times.items()
        if not tool.startswith("feedline")
    ]
    memory = max(run.peak_memory for run in record.runs if run.tool == "feedline")
    return _row(
        f"preparing {' and '.join(f'{split} ({record.images[split]:,} images)' for split in ours)}",
        record,
        f"{', '.join(against)} (spreads {min(spreads):.0%} to {max(spreads):.0%}); {memory / 1e6:.0f} MB of memory",
        "`python -m feedline.benchmarks.claims.preparation --out DIR`, [docs/prep.md](docs/prep.md)",
    )


def _sharding(record: ShardingRecord) -> str:
    done = record.transcoding
    growth = done.encoded_bytes / done.source_bytes - 1
    index = next(run.index_bytes / run.images for run in record.writing if run.encode == "restart")
    return _row(
        "adding restart markers without loss",
        record,
        f"{done.images / median(done.cpu_seconds):.0f} images/s on one core; files grow by {growth:.2%}; "
        f"the index has {index:.0f} bytes per image",
        "`python -m feedline.benchmarks.claims.sharding archives --out FILE`, [docs/shards.md](docs/shards.md)",
    )


def _promised(record: ThreadedRecord) -> str:
    judged = [finding for finding in findings(record) if finding.met is not None]
    missed = [f"{finding.what}: {finding.measured}, target {finding.target}" for finding in judged if not finding.met]
    return _row(
        "promises of `threaded`",
        record,
        f"{len(judged) - len(missed)} of {len(judged)} kept{'; missed: ' if missed else ''}{'; '.join(missed)}",
        "`python -m feedline.benchmarks.claims.threaded ROOT --out FILE`, [docs/results.md](docs/results.md)",
    )


def _decoded_from(record: OrdersRecord) -> str:
    size = record.data.bytes / record.data.samples / 1000
    return f"{record.image_size} pixels, {record.images:,} images of {size:.1f} kB on average"


def _decoded(record: OrdersRecord) -> str:
    first, *others = record.orders
    times = [f"{order.name} {first.microseconds / order.microseconds:.2f}" for order in others]
    return _row(
        f"decoding to {record.image_size} px, times {first.name}, one core",
        record,
        "; ".join(times),
        "`python -m feedline.benchmarks.claims.threaded_orders ROOT --out FILE`, [docs/loaders.md](docs/loaders.md)",
    )


def _damaged(record: FuzzRecord) -> str:
    outcome = record.outcome
    return _row(
        f"{outcome.images:,} damaged images for the fused decoder",
        record,
        f"{outcome.touched} changed a guard zone, {outcome.other} had other pixels than the old way's",
        "`python -m feedline.benchmarks.claims.fused_fuzz --out FILE`, [docs/loaders.md](docs/loaders.md)",
    )


def _foreseen(record: Check) -> str:
    errors = [abs(condition.error) for condition in record.conditions]
    return _row(
        "what-if prediction behind a throttled disk",
        record,
        f"predicted images/s differ from the measured ones by {min(errors):.1%} to {max(errors):.1%}",
        "`python -m feedline.benchmarks.claims.prediction_check ROOT --out FILE`, [docs/results.md](docs/results.md)",
    )


def _agreeing(data: str, record: AccuracyRecord) -> str:
    seeds = len({run.seed for run in record.runs})
    return _row(
        f"accuracy by loader, {data}, {seeds} seeds",
        record,
        agreement(record.runs).splitlines()[-1],
        "`python -m feedline.benchmarks.claims.accuracy OUT`, [docs/training.md](docs/training.md)",
    )


def _training(record: SpeedRecord) -> list[str]:
    rows: list[str] = []
    for device, ranks in dict.fromkeys((speed.device, speed.ranks) for speed in record.speeds):
        speeds = {s.loader: s for s in record.speeds if (s.device, s.ranks) == (device, ranks)}
        ceiling = speeds.pop(CEILING, None)
        if not speeds:
            continue
        best = max(speeds.values(), key=lambda speed: speed.images_per_second)
        share = f", {best.images_per_second / ceiling.images_per_second:.0%} of the ceiling" if ceiling else ""
        rows.append(
            _row(
                f"training {record.config.model} at {record.config.image_size} px on {ranks} x {device}",
                record,
                f"`{best.loader}` {best.images_per_second:,.0f} images/s{share}",
                "`feedline bench ROOT --train --out DIR`, [docs/training.md](docs/training.md)",
            )
        )
    return rows


def _learnt(epochs: Sequence[EpochRecord]) -> list[str]:
    if not epochs:
        return []
    train = epochs[-1].train
    result = f"after {epochs[-1].epoch} epochs: top-1 {train.top1:.1%} and top-5 {train.top5:.1%} on train"
    return [f"| training ResNet-18 on 200 synthetic classes | | {result} | [docs/training.md](docs/training.md) |"]


def _row(what: str, record: _Dated, result: str, how: str) -> str:
    return f"| {what} | {_where(record)} | {result} | {how} |"


def _epochs(records: Path) -> list[EpochRecord]:
    lines = [
        line for path in records.glob("training/train-200-classes.jsonl") for line in path.read_bytes().splitlines()
    ]
    return [TypeAdapter(EpochRecord).validate_json(line) for line in lines]


def _accuracies(records: Path) -> list[tuple[str, AccuracyRecord]]:
    """Return (data, record) of each accuracy-DATA.json; a machine may have records of several data sets."""
    paths = sorted(records.glob("training/accuracy-*.json"))
    return [(path.stem.removeprefix("accuracy-"), read_document(path, AccuracyRecord)) for path in paths]


def _newest(records: Path, pattern: str, kind: type[D], what: Callable[[D], object] = lambda record: None) -> list[D]:
    """Return the newest document of each machine, and of each ``what`` there, newest last."""
    found = sorted((read_document(path, kind) for path in records.glob(pattern)), key=lambda record: record.date)
    return list({(record.environment.machine, what(record)): record for record in found}.values())


def _sections(found: Sequence[D], table: Callable[[D], str], of: Callable[[D], str] | None = None) -> str:
    """Return a table of each record, below what it is a table ``of``, the machine and the date."""
    heads = [_where(record) if of is None else f"{of(record)}; {_where(record)}" for record in found]
    return "\n\n".join(f"{head}:\n\n{table(record)}" for head, record in zip(heads, found, strict=True))


def _where(record: _Dated) -> str:
    return f"{machine_name(record.environment.machine)}, {record.date[:10]}"
