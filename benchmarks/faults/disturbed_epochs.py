"""One fault in the epochs of a loader: every sample that still comes must be the one that came without the fault."""

import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...loaders import loader_versions
from ...prep import LoaderUnavailable, MeasurementError
from .commands import Workshop, made
from .epochs import READY
from .injections import make_fault
from .judging import KILLED, Disturbance, Epochs, Sample, judge_epochs, last_line
from .kinds import FILE_KINDS, Fault, Kind, Place
from .record import Outcome
from .sessions import Finished, run_command, shared_memory

_FOLDERS, _SHARDS = ("train/*/*",), ("shards/*-train-*", "shards/manifest.json")
LOADERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "threaded": ("threaded", "root", _SHARDS),
    "threaded over folders": ("threaded", "folders", _FOLDERS),
    "imagefolder": ("imagefolder", "folders", _FOLDERS),
    "webdataset": ("webdataset", "root", _SHARDS),
    "dali": ("dali", "root", _SHARDS),
}
"""The loader, the folder of data and the patterns of the files that it reads, by the name in the record."""


def installed_loaders() -> tuple[str, ...]:
    """Return the names in LOADERS that can be used here."""
    return tuple(name for name, (loader, *_) in LOADERS.items() if _is_installed(loader))


def undisturbed_epochs(shop: Workshop, name: str) -> Epochs:
    """Return what the epochs yield without a fault; raise MeasurementError if they fail by themselves."""
    loader, source, _ = LOADERS[name]
    done = _run(shop, loader, shop.data / source, shop.folder / "tmp", Fault(""), 0.0)
    found = read_epochs(done.output)
    if done.code != 0 or found.error is not None or any(found.skipped.values()):
        raise MeasurementError(
            f"the epochs of {name} fail without a fault: {last_line(done.output)}; repair that first"
        )
    return found


def disturb_epochs(shop: Workshop, name: str, kind: Kind, rng: random.Random, normal: Epochs) -> Outcome:
    """Inject one fault, and compare what came with what comes without it; start again what was killed."""
    loader, source, reads = LOADERS[name]
    with made(shop.folder / "disturbed") as folder:
        data = shop.data / source
        if kind in FILE_KINDS:
            data = Path(shutil.copytree(data, folder / "copy" / source))
        place = Place(data=data, reads=reads, out=folder / "out", disk=None, expected_bytes=0, at_start=False)
        fault, moment, shared, temporary = make_fault(kind, place, rng), rng.random(), shared_memory(), folder / "tmp"
        try:
            done = _run(shop, loader, data, temporary, fault, moment)
            felt, killed = fault.felt(done), fault.killed()
        finally:
            fault.repair()
        runs = [done]
        if killed and done.code == KILLED:
            runs.append(_run(shop, loader, data, temporary, Fault(""), 0.0))
        did = Disturbance(
            f"epochs of {name}",
            kind,
            fault.detail,
            moment,
            felt=felt,
            killed=killed,
            shared_memory_left=len(shared_memory() - shared),
            files_left=sum(path.is_file() for path in temporary.rglob("*")),
        )
        outcome = judge_epochs(did, [(run, read_epochs(run.output)) for run in runs], normal)
        return replace(outcome, said=outcome.said.replace(str(shop.folder), "WORK"))


def read_epochs(output: str) -> Epochs:
    """Return what the program printed; its last line may be cut by a kill."""
    found = Epochs()
    for line in output.splitlines():
        if not line.startswith("{") or not line.endswith("}"):
            continue
        value = json.loads(line)
        for index, label, key, checksum, *means in value.get("samples", ()):
            found.repeated += (value["epoch"], index) in found.samples
            found.samples[value["epoch"], index] = Sample(label, key, checksum, tuple(*means))
        if "ended" in value:
            found.skipped[value["ended"]] = frozenset(value["skipped"])
        found.error, found.left = value.get("error", found.error), value.get("left", found.left)
        found.grown = value.get("grown", found.grown)
    return found


def _run(shop: Workshop, loader: str, data: Path, temporary: Path, fault: Fault, moment: float) -> Finished:
    temporary.mkdir(parents=True, exist_ok=True)
    command: Sequence[str] = (sys.executable, "-P", "-m", "feedline.benchmarks.faults.epochs", loader, str(data))
    return run_command(
        command,
        {**os.environ, "TMPDIR": str(temporary), **fault.environment},
        shop.folder / "output.log",
        shop.limit,
        moment=moment,
        marker=READY,
        disturb=fault.disturb,
        limits=fault.limits,
    )


def _is_installed(loader: str) -> bool:
    try:
        loader_versions(loader)
    except LoaderUnavailable:
        return False
    return True
