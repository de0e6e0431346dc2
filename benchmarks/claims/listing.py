"""How long class folders of many millions of images take to open, and in how much memory, per process.

    python -m feedline.benchmarks.claims.listing --folder FOLDER --out listing.json

``FOLDER`` gets a data set of empty files, by default 300,000 in 462 class folders, which are removed at the end. It is
listed as a loader lists it, in processes of their own: without a kept listing, then with one. Opening does not read
the files, so that empty ones serve. A second part makes a listing of ``--images`` names (14,000,000 in 21,539 folders;
ImageNet-21k has 21,841) without files, writes it, and opens it as several ranks do at once. The seconds of the first
opening of such a data set are predicted: CPU time per file, times the images. A disk that must be read first adds to
it.
"""

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click
import psutil

from ...prep import (
    MANIFEST,
    ClassEntry,
    FeedlineError,
    Manifest,
    OutputError,
    Split,
    read_manifest,
    write_document,
)
from ...prep.roots import kept_listings
from ...prep.roots.kept_listings import open_listing
from ...prep.roots.listing import Listing, Run, listing_of
from ..machine.environment import Environment, capture
from ..measuring.record import Code, running_code

PER_CLASS = 650


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One opening in a process of its own."""

    images: int
    seconds: float
    cpu_seconds: float
    private_bytes: int
    """Memory that the process alone has, more than before; the pages of a kept listing are shared."""


@dataclass(frozen=True, kw_only=True)
class ListingRecord:
    """The document of one measurement."""

    format: Literal["feedline-listing"] = "feedline-listing"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    classes: int
    first: Opened
    """The first opening of files that exist, which lists them."""
    again: Opened
    making_bytes: int
    """The most memory of the process that lists as many names as ``ranks`` open."""
    listing_bytes: int
    """Size of that listing on the disk."""
    ranks: tuple[Opened, ...]
    """Processes that open it at the same time."""


def table(record: ListingRecord) -> str:
    """Return the measurement as Markdown."""
    first, rank = record.first, max(record.ranks, key=lambda opened: opened.cpu_seconds)
    each = first.cpu_seconds / first.images
    private = max(opened.private_bytes for opened in record.ranks)
    rows = (
        (f"listing {first.images:,} files, the first time", f"{1e6 * each:.1f} us of CPU time per file"),
        (f"the same for {rank.images:,} files, predicted", f"{each * rank.images:.0f} s"),
        (
            f"a listing of {rank.images:,} names on the disk, which all processes share",
            _megabytes(record.listing_bytes),
        ),
        ("memory of the process that makes it, at most", _megabytes(record.making_bytes)),
        (f"opening it again, in {len(record.ranks)} processes at once", f"{rank.cpu_seconds:.2f} s of CPU time each"),
        ("memory of each process of its own", _megabytes(private)),
    )
    return "\n".join(["| | |", "|---|---:|", *(f"| {what} | {value} |" for what, value in rows)])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


@click.command()
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=tempfile.gettempdir())
@click.option("--files", default=300_000, help="Files to make and list.")
@click.option("--images", default=14_000_000, help="Names in the listing without files.")
@click.option("--ranks", default=4, help="Processes that open it at once.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default="listing.json")
def main(folder: Path, files: int, images: int, ranks: int, out: Path) -> None:
    """Measure how class folders are listed."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    words = {"--folder": folder, "--files": files, "--images": images, "--ranks": ranks, "--out": out}
    with tempfile.TemporaryDirectory(dir=folder, prefix="feedline-listing-") as place:
        cache, root = Path(place) / "cache", Path(place) / "data"
        os.environ["XDG_CACHE_HOME"] = str(cache)
        classes = _make_root(root, files)
        time.sleep(2.5)  # a folder that was changed just now is not kept
        first, again = (_in_processes(root, 1)[0] for _ in range(2))
        shutil.rmtree(root / "train")
        made = _made_in_a_process(root, images)
        opened = _in_processes(root, ranks)
        size = sum(file.stat().st_size for file in cache.rglob("*.listing"))
    record = ListingRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=(
            "python",
            "-m",
            "feedline.benchmarks.claims.listing",
            *(str(w) for pair in words.items() for w in pair),
        ),
        code=running_code(),
        environment=capture(),
        classes=classes,
        first=first,
        again=again,
        making_bytes=made,
        listing_bytes=size,
        ranks=tuple(opened),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_document(out, record)
    click.echo(table(record))


def _make_root(root: Path, files: int) -> int:
    counts = [min(PER_CLASS, files - first) for first in range(0, files, PER_CLASS)]
    for number, count in enumerate(counts):
        folder = root / "train" / _wnid(number)
        folder.mkdir(parents=True)
        for name in _names(number, count):
            (folder / name).touch()
    _write_manifest(root, counts)
    return len(counts)


def _make_listing(root: Path, images: int) -> int:
    """Keep a listing of images that do not exist; return how much memory that took at most.

    Their folders are missing when it is opened, as when it is made.
    """
    before = psutil.Process().memory_info().rss
    counts = [min(PER_CLASS, images - first) for first in range(0, images, PER_CLASS)]
    _write_manifest(root, counts)
    runs = (Run(f"train/{_wnid(n)}", n, _names(n, count), -1) for n, count in enumerate(counts))

    def list_nothing(*_: object) -> Listing:
        return listing_of(root, runs)

    with _replaced(kept_listings, "list_split", list_nothing):
        open_listing(root, read_manifest(root), "train")
    import resource  # POSIX only, as the rest of these figures

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def _write_manifest(root: Path, counts: list[int]) -> None:
    classes = tuple(ClassEntry(id=_wnid(number), name="class") for number in range(len(counts)))
    split = Split(images=sum(counts), bytes=0, per_class=tuple(counts))
    manifest = Manifest(dataset="listing", classes=classes, splits={"train": split}, sources=())
    write_document(root / MANIFEST, manifest)


def _wnid(number: int) -> str:
    return f"n{number:08}"


def _names(number: int, count: int) -> list[str]:
    return sorted(f"{_wnid(number)}_{image}.JPEG" for image in range(count))


def _made_in_a_process(root: Path, images: int) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_make_listing, (root, images))


def _in_processes(root: Path, count: int) -> list[Opened]:
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        return pool.map(_open, [root] * count, chunksize=1)


def _open(root: Path) -> Opened:
    manifest, before = read_manifest(root), _private_bytes()
    started, cpu = time.perf_counter(), time.process_time()
    listing = open_listing(root, manifest, "train")
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    for index in range(0, len(listing), max(1, len(listing) // 100_000)):
        listing.path(index)
    private = _private_bytes() - before
    return Opened(images=len(listing), seconds=seconds, cpu_seconds=cpu, private_bytes=private)


def _private_bytes() -> int:
    """Return the resident memory of this process without that of files, which all processes share; Linux."""
    memory = psutil.Process().memory_info()
    return memory.rss - getattr(memory, "shared", 0)


@contextmanager
def _replaced(module: Any, name: str, value: object) -> Generator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
