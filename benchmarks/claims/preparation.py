"""Time to turn archives into class folders: feedline against the usual shell scripts and torchvision.

    python -m feedline.benchmarks.claims.preparation --out benchmarks/records/preparation

Every tool gets the same two archives: a training archive of images of ImageNet's size, and a validation archive of
many small images, for which the scripts' process per file costs most. The runs of the tools alternate. Each time ends
when the data is on the disk (``sync``), and a run counts only if its folders hold every image. Bytes are those given
to write calls, as the kernel counts them for a process and the children that it waited for; this needs Linux. The
shell scripts are rewritten from their steps: unpack the outer tar, unpack and delete each class tar, move each
validation image with a process of its own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial as bind
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

import click
import numpy as np
import psutil
from pydantic import AliasChoices, Field

from ...prep import MeasurementError, uniforms, validation_labels, wnids, write_document
from ...prep.synthetic.photographs import VARY_DRAWS, encode, vary
from ..machine.environment import Environment, capture

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
VARIETY = 32  # different images; the archives repeat them, and no file system used here deduplicates them

Split = Literal["train", "val"]
MEMORY = "memory"
# Linux counts the memory of the parent process as the new process's own. So a bare interpreter starts each tool.
WATCH = f"""
import os, subprocess, sys
_, status, usage = os.wait4(subprocess.Popen(sys.argv[1:]).pid, 0)
open({MEMORY!r}, "w").write(str(usage.ru_maxrss))
os._exit(os.waitstatus_to_exitcode(status))
"""
CLOCK = "seconds"  # file for a tool's own time, if its imports must not count


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The numbers of classes and images in the archives."""

    train_classes: int = 200
    train_per_class: int = 60
    val_classes: int = 800
    """50 images each, as in ImageNet: 40,000."""

    def labels(self) -> dict[str, str]:
        """Return {name: wnid} of the validation images."""
        classes = set(wnids()[: self.val_classes])
        return {name: wnid for name, wnid in validation_labels().items() if wnid in classes}


@dataclass(frozen=True, kw_only=True)
class Task:
    """The work of a tool: turn the archive in the folder ``place`` into class folders there."""

    split: Split
    place: Path
    archive: str
    labels: dict[str, str]
    md5: str


@dataclass(frozen=True, kw_only=True)
class ToolRun:
    """One tool on one archive."""

    tool: str
    split: Split
    repeat: int
    seconds: float
    """Until the data is on the disk."""
    written: int
    """Bytes given to write calls."""
    read: int
    """Bytes returned by read calls; bytes that a system call copies within the kernel do not count."""
    peak_memory: int
    """Resident bytes of the largest process."""


@dataclass(frozen=True, kw_only=True)
class PreparationRecord:
    """The document of all runs."""

    format: Literal["feedline-preparation"] = "feedline-preparation"
    schema: Literal[1] = 1
    date: str
    shape: Shape
    archive_bytes: dict[Split, int]
    images: Annotated[dict[Split, int], Field(validation_alias=AliasChoices("images", "pictures"))]
    """In each archive; records of 0.1 call them pictures."""
    environment: Environment
    runs: tuple[ToolRun, ...]


def compare(work: Path, shape: Shape, repeats: int) -> PreparationRecord:
    """Measure every tool ``repeats`` times in the empty folder ``work``, in turns.

    Raises MeasurementError if a tool fails, or if its folders do not hold all images of the archive.
    """
    if not sys.platform.startswith("linux") or not shutil.which("bash"):
        raise MeasurementError(
            f"the comparison needs bash, GNU tar and Linux's counters, and this is {sys.platform}; run it on Linux"
        )
    archives: dict[Split, Path] = {"train": work / TRAIN, "val": work / VAL}
    images: dict[Split, int] = {"train": _write_train(work / TRAIN, shape), "val": _write_val(work / VAL, shape)}
    md5s = {split: _md5(path) for split, path in archives.items()}
    runs: list[ToolRun] = []
    for repeat in range(repeats):
        for split, path in archives.items():
            for tool in TOOLS:
                # No folder is deleted between runs: for minutes after a hundred thousand files were deleted, ext4
                # creates files up to ten times slower, because it does not use their inodes again so soon.
                place = work / f"run-{len(runs)}"
                place.mkdir()
                os.link(path, place / path.name)  # the scripts delete their archive
                _md5(path)  # so that every tool finds it in the page cache
                task = Task(split=split, place=place, archive=path.name, labels=shape.labels(), md5=md5s[split])
                runs.append(_run(tool, task, repeat, images[split]))
                click.echo(f"{tool}, {split}: {runs[-1].seconds:.1f} s", err=True)
    return PreparationRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        shape=shape,
        archive_bytes={split: path.stat().st_size for split, path in archives.items()},
        images=images,
        environment=capture(),
        runs=tuple(runs),
    )


def table(record: PreparationRecord) -> str:
    """Return the medians and spreads as Markdown; a spread is (largest - smallest) / median."""
    lines: list[str] = []
    for split, images in record.images.items():
        size = record.archive_bytes[split] / 1e9
        lines += [f"| {split}: {images:,} images, {size:.2f} GB | seconds | spread | ratio | written | memory |"]
        lines += ["|---|---:|---:|---:|---:|---:|"]
        of = {tool: [run for run in record.runs if (run.tool, run.split) == (tool, split)] for tool in TOOLS}
        base = median(run.seconds for run in of["feedline"])
        for tool, runs in of.items():
            seconds = [run.seconds for run in runs]
            middle = median(seconds)
            spread = (max(seconds) - min(seconds)) / middle
            written, memory = median(run.written for run in runs), max(run.peak_memory for run in runs)
            lines += [
                f"| {tool} | {middle:.1f} | {spread:.0%} | {middle / base:.1f} | {written / 1e9:.2f} GB "
                f"| {memory / 1e6:.0f} MB |"
            ]
        lines += [""]
    return "\n".join(lines)


def _run(tool: str, task: Task, repeat: int, images: int) -> ToolRun:
    command = TOOLS[tool](task)
    os.sync()
    before, started = psutil.Process().io_counters(), time.perf_counter()
    with (task.place / "output").open("wb") as output:
        code = subprocess.run([sys.executable, "-ISc", WATCH, *command], cwd=task.place, stdout=output, stderr=output)
    ended, after = time.perf_counter(), psutil.Process().io_counters()
    own_clock = task.place / CLOCK
    seconds = float(own_clock.read_text()) if own_clock.is_file() else ended - started
    os.sync()
    seconds += time.perf_counter() - ended
    found = sum(1 for _ in task.place.rglob("n*/*.JPEG"))
    if code.returncode or found != images:
        said = (task.place / "output").read_text("utf-8", "replace")[-300:]
        raise MeasurementError(
            f"{tool} ended with exit code {code.returncode} and {found} of {images} images; its last output: {said}"
        )
    return ToolRun(
        tool=tool,
        split=task.split,
        repeat=repeat,
        seconds=round(seconds, 3),
        written=after.write_chars - before.write_chars,
        read=after.read_chars - before.read_chars,
        peak_memory=int((task.place / MEMORY).read_text()) * 1024,
    )


def _feedline(options: tuple[str, ...], task: Task) -> list[str]:
    code = "from feedline.cli.main import main; main()"
    return [sys.executable, "-c", code, "prep", "imagenet", task.archive, "--out", "out", *options]


def _scripts(task: Task) -> list[str]:
    """Return the shell scripts: for train the class tars on the disk, for val one ``mv`` per image."""
    folder = f"imagenet/{task.split}"
    lines = [f"mkdir -p {folder}", f"mv {task.archive} {folder}/", f"cd {folder}"]
    lines += [f"tar -xf {task.archive}", f"rm -f {task.archive}"]
    if task.split == "train":
        lines += ['for tar in *.tar; do mkdir -p "${tar%.tar}"; tar -xf "$tar" -C "${tar%.tar}"; rm -f "$tar"; done']
    else:
        lines += [f"mkdir -p {wnid}" for wnid in sorted(set(task.labels.values()))]
        lines += [f"mv {name} {wnid}/" for name, wnid in task.labels.items()]
    (task.place / "prepare.sh").write_text("\n".join(lines) + "\n")
    return ["bash", "prepare.sh"]


def _torchvision(task: Task) -> list[str]:
    """Return a run of torchvision's ImageNet class with this archive's md5; its import of torch is not timed."""
    code = f"""
import time, torch
from torchvision.datasets import ImageNet, imagenet
started = time.perf_counter()
torch.save(({{wnid: (wnid,) for wnid in {list(wnids())!r}}}, {list(task.labels.values())!r}), imagenet.META_FILE)
imagenet.ARCHIVE_META[{task.split!r}] = ({task.archive!r}, {task.md5!r})
ImageNet(".", {task.split!r})
open({CLOCK!r}, "w").write(str(time.perf_counter() - started))
"""
    (task.place / "prepare.py").write_text(code)
    return [sys.executable, "prepare.py"]


TOOLS: dict[str, Callable[[Task], list[str]]] = {
    "feedline": bind(_feedline, ()),
    "feedline --checksum md5": bind(_feedline, ("--checksum", "md5")),
    "shell scripts": _scripts,
    "torchvision.datasets.ImageNet": _torchvision,
}


def _write_train(path: Path, shape: Shape) -> int:
    pool = _images((500, 375), 8.0)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as outer:
        for wnid in wnids()[: shape.train_classes]:
            inner = BytesIO()
            with tarfile.open(fileobj=inner, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for number in range(shape.train_per_class):
                    _add(tar, f"{wnid}_{number}.JPEG", pool[number % VARIETY])
            _add(outer, f"{wnid}.tar", inner.getvalue())
    return shape.train_classes * shape.train_per_class


def _write_val(path: Path, shape: Shape) -> int:
    pool = _images((64, 48), 1.0)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, name in enumerate(shape.labels()):
            _add(tar, name, pool[number % VARIETY])
    return len(shape.labels())


def _images(size: tuple[int, int], grain: float) -> list[bytes]:
    draws = uniforms(np.arange(VARIETY), VARY_DRAWS, 0)
    return [encode(vary(i % 16, size, grain, draws[i]), "jpeg", 92) for i in range(VARIETY)]


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, BytesIO(data))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the record.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder with 16 GB free.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
def main(out: Path, work: Path | None, repeats: int) -> None:
    """Compare feedline with the shell scripts and torchvision, and print the table."""
    with tempfile.TemporaryDirectory(prefix="feedline-preparation-", dir=work) as place:
        record = compare(Path(place), Shape(), repeats)
    out.mkdir(parents=True, exist_ok=True)
    write_document(out / f"{record.date[:10]}.json", record)
    click.echo(table(record))


if __name__ == "__main__":
    main()
