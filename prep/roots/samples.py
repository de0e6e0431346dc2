"""The images with their labels: of a prepared root, or of a source as ``feedline prep`` takes it.

A sample records where its bytes lie, so that shards can be written in any order without a copy of the source. A label
belongs to a file name, never to a position in a listing.
"""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base.errors import DatasetError
from ..base.manifest import ClassEntry, Manifest, Source, Split
from ..base.names import is_path_below
from ..base.shell import shell_word
from ..images.files import image_files, is_image_name
from ..sources.reader import Location, Reader
from ..store.afar import REQUESTS, far_folder_of
from .columns import parse_object
from .lists import FILE, MAX_LINE, list_path, located_images

SHARD_KEY = "__key__"  # in a line of a shard's columns, which has no file name: see ``shards.columns``


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its label, and where its bytes lie."""

    name: str
    """The file's name in the data set, such as "n01440764_18.JPEG"; of a listed image, its path below the root."""
    label: int
    size: int
    location: Location
    alias: str = ""
    """The key in a shard if it is not the name without its extension; see ``keys``."""
    line: Location | None = None
    """Where the line with its columns begins, if it has any."""

    @property
    def key(self) -> str:
        return self.alias or self.name.rpartition("/")[2].rpartition(".")[0]

    @property
    def path(self) -> Path:
        """The file to open."""
        return self.location.path

    def __str__(self) -> str:
        return str(self.path) if isinstance(self.location.within, str) else f"{self.name} in {self.path}"


@dataclass(frozen=True, kw_only=True)
class SampleSet:
    """What a source holds: samples by split, each split sorted by class index, then file name."""

    dataset: str
    classes: tuple[ClassEntry, ...]
    sources: tuple[Source, ...]
    splits: dict[str, list[Sample]]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The names of the columns of the splits that have any."""


class SampleReader:
    """Reads samples; an archive stays open between two of them. A context manager, for one thread."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._lines = Reader(buffered=True)

    def read(self, sample: Sample) -> bytes:
        """Return the file's bytes.

        Raises DatasetError if it cannot be read or has changed in size, SourceError for a damaged member of a zip.
        """
        try:
            data = self._reader.read(sample.location, sample.size)
        except OSError as error:
            raise DatasetError(f"cannot read {sample}: {error.strerror}; look at the disk, then run again") from error
        if len(data) != sample.size:
            raise DatasetError(f"{sample} changed while it was read; run again")
        return data

    def read_ahead(self, samples: Sequence[Sample]) -> Generator[bytes]:
        """Yield the bytes of samples that lie behind a URL, of which several are requested at a time.

        Raises what ``read`` raises.
        """
        with ThreadPoolExecutor(REQUESTS) as pool:
            begun = deque[Future[bytes]]()
            try:
                for sample in samples:
                    begun.append(pool.submit(self.read, sample))
                    if len(begun) > 4 * REQUESTS:
                        yield begun.popleft().result()
                while begun:
                    yield begun.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def columns(self, sample: Sample, names: Sequence[str]) -> dict[str, Any]:
        """Return the values of the columns with these names; a missing value is None.

        Raises DatasetError if the sample's line cannot be read.
        """
        if sample.line is None:
            return dict.fromkeys(names)
        place, start, _ = sample.line
        try:
            far = far_folder_of(place)
            file = self._lines.open(place if far is None else far.fetch(place))
            file.seek(int(start))
            row = parse_object(file.readline(MAX_LINE + 1), f"the line at offset {start}")
            if SHARD_KEY not in row and not str(row.get(FILE, sample.name)).endswith(sample.name):
                raise ValueError("the file has changed")
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"cannot read the columns of {sample} in {place}: {error}; restore the file, then run again"
            ) from error
        return {name: row.get(name) for name in names}

    def __enter__(self) -> "SampleReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.__exit__(*error)
        self._lines.__exit__(*error)


def split_folder(root: Path, name: str, split: Split) -> Path:
    """Return the folder that holds the class folders of a split."""
    return root if split.folder == "." else root / (split.folder or name)


def class_folder(root: Path, name: str, split: Split, entry: ClassEntry) -> Path:
    """Return the folder of one class of a split. Raises DatasetError if its name leads elsewhere."""
    folder = entry.folder or entry.id
    if not is_path_below(folder):
        raise DatasetError(f"the class {folder[:80]!r} of {root} has no folder name; prepare the data again")
    return split_folder(root, name, split) / folder


def list_samples(root: Path, manifest: Manifest, split: str) -> list[Sample]:
    """Return a labelled split's images by sample index: of class folders, sorted by class index, then file name.

    Files that are no images are ignored, as by every loader. Raises DatasetError if the images are not as many as the
    manifest says, and for a list that is missing or names a file that is missing.
    """
    samples = (_from_list if is_listed(root, manifest, split) else _from_folders)(root, manifest, split)
    require_count(len(samples), root, manifest, split)
    return samples


def is_listed(root: Path, manifest: Manifest, split: str) -> bool:
    """Return whether a list has the images of a split. Raises DatasetError if the root has no such labelled split."""
    expected = manifest.splits.get(split)
    if expected is None or not expected.per_class:
        raise DatasetError(f"{root} has no labelled split {split!r}; it has: {', '.join(manifest.splits)}")
    return expected.listed or bool(expected.columns)


def require_count(count: int, root: Path, manifest: Manifest, split: str) -> None:
    """Raise DatasetError unless a split has as many images as the manifest says."""
    expected = manifest.splits[split]
    if count != expected.images:
        place = list_path(root, split) if is_listed(root, manifest, split) else split_folder(root, split, expected)
        raise DatasetError(
            f"{place} has {count} images where the manifest says {expected.images}; run: "
            f"feedline verify {shell_word(root)}"
        )


def _from_folders(root: Path, manifest: Manifest, split: str) -> list[Sample]:
    samples: list[Sample] = []
    for label, entry in enumerate(manifest.classes):
        folder = class_folder(root, split, manifest.splits[split], entry)
        samples += [Sample(name, label, size, Location(folder, name)) for name, size in _images(folder)]
    return samples


def _images(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and size of each image in a class folder, sorted by name."""
    if (far := far_folder_of(folder)) is not None:
        yield from ((name, size) for name, size in far.files_in(folder) if is_image_name(name))
        return
    for entry in image_files(folder):
        yield entry.name, entry.stat().st_size


def _from_list(root: Path, manifest: Manifest, split: str) -> list[Sample]:
    held = manifest.splits[split]
    path, has_columns = list_path(root, split), bool(held.columns)
    samples: list[Sample] = []
    for start, name, label, size in listed_files(root, manifest, split):
        line = Location(path, start) if has_columns else None
        own = name if held.listed else name.rpartition("/")[2]
        samples.append(Sample(own, label, size, Location(root, name), line=line))
    return samples


def listed_files(root: Path, manifest: Manifest, split: str) -> Iterator[tuple[int, str, int, int]]:
    """Yield the images of a list: the offset of the line, the path below the root, the class index, and the size.

    Raises DatasetError for a class that the manifest does not have, and for a file that cannot be found.
    """
    labels = {entry.id: label for label, entry in enumerate(manifest.classes)}
    path, far = list_path(root, split), far_folder_of(root)
    for start, image in located_images(path):
        name, label = image.file_name, labels.get(image.label)
        if label is None:
            raise DatasetError(
                f"{path} has {name!r} in class {image.label!r}, which is none of the manifest; "
                f"restore the file, or prepare the data again"
            )
        try:
            size = (root / name).stat().st_size if far is None else far.size(root / name)
        except (OSError, UnicodeEncodeError) as error:  # half a surrogate pair, which only Windows can look for
            reason = error.strerror if isinstance(error, OSError) else "no file here can have this name"
            raise DatasetError(
                f"cannot read {root / name} of {path}: {reason}; run: feedline verify {shell_word(root)}"
            ) from error
        yield start, name, label, size


def samples_of_root(root: Path, manifest: Manifest, splits: Sequence[str] | None) -> SampleSet:
    """Return the samples of a prepared root; by default of all labelled splits."""
    chosen = splits or [name for name, split in manifest.splits.items() if split.per_class]
    return SampleSet(
        dataset=manifest.dataset,
        classes=manifest.classes,
        sources=manifest.sources,
        splits={split: list_samples(root, manifest, split) for split in chosen},
        columns={split: held.columns for split in chosen if (held := manifest.splits[split]).columns},
    )
