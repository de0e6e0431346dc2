"""The files of a user's source, whatever holds them: a folder, a zip or a tar. Names are listed, no image is read."""

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..archives.compressed import BUFFER, compression_of, open_tar
from ..archives.tar import read_member
from ..archives.zip import walk_zip
from ..base.errors import SourceError
from ..base.manifest import MANIFEST, SHARDS, is_shard_set
from ..base.names import is_path_below
from ..base.output import PARTIAL
from ..base.shell import shell_word
from ..images.files import SUFFIXES, is_image_name
from ..sources.naming import SPLITS, SplitNames, kind_of
from ..sources.parquet import PARQUET
from ..sources.parts import MAX_IMAGE
from ..sources.reader import Location
from ..sources.reading import Reading, listed
from ..sources.recognise_file import ARCHIVES, ZIP, made_by_other_tool
from ..sources.strange import broken_links, refuse_shards, refuse_strange
from ..sources.walking import NOT_OURS, walk_folder

LISTS = (".csv", ".tsv", ".json", ".jsonl", ".txt")
LOOKED_AT = 64  # members of a tar that show whether it is a shard
MAX_NAME = 4096  # bytes of a path in an archive


@dataclass
class Files:
    """The images of a source, packed, and what else it holds."""

    path: Path
    streamed: bool = False
    """Whether it can only be read from front to back."""
    left_out: "Counter[str]" = field(default_factory=Counter)
    """Files that are no images, by kind."""
    folders: dict[str, int] = field(default_factory=dict[str, int])
    """{folder below the source: images that lie in it directly}; the source itself is ""."""
    others: set[str] = field(default_factory=set[str])
    """Folders of an archive that hold no image directly."""
    location: Callable[[str, int], Location] = lambda name, position: Location(Path(), position)
    """The place of an image for its name and position."""
    _names: bytearray = field(default_factory=bytearray)
    _ends: "array[int]" = field(default_factory=lambda: array("Q", [0]))
    _positions: "array[int]" = field(default_factory=lambda: array("Q"))
    _sizes: "array[int]" = field(default_factory=lambda: array("Q"))

    def add(self, name: str, position: int, size: int) -> None:
        """Add an image."""
        folder = name.rpartition("/")[0]
        self.folders[folder] = self.folders.get(folder, 0) + 1
        self._names += name.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._names))
        self._positions.append(position)
        self._sizes.append(size)

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        """Yield (name, position, size) of the images."""
        for index, (position, size) in enumerate(zip(self._positions, self._sizes, strict=True)):
            name = self._names[self._ends[index] : self._ends[index + 1]]
            yield name.decode("utf-8", "surrogatepass"), position, size

    def where(self, name: str, position: int) -> str:
        """Return where an image lies, for messages."""
        if self.path.is_dir():
            return f"{self.path}{os.sep}{name.replace('/', os.sep)}"
        if self.location(name, position).zipped:
            return f"{name} in {self.path}"
        return f"{name} at offset {position} of {self.path}"

    def subfolders(self, folder: str) -> set[str]:
        """Return the names of the folders in a folder of the source, with images or without."""
        if self.path.is_dir():
            with os.scandir(self.path.joinpath(*folder.split("/")) if folder else self.path) as entries:
                return {entry.name for entry in entries if _is_ours(entry)}
        start = f"{folder}/" if folder else ""
        known = (name[len(start) :] for name in {*self.others, *self.folders} if name.startswith(start))
        return {name.partition("/")[0] for name in known} - {""}


def list_files(path: Path, splits: SplitNames, skip: Path | None) -> Files:
    """Return the files of a source; ``skip``, the output, is left out.

    Raises SourceError, which names the command that helps, for a source that is missing, damaged or something else.
    """
    if not path.exists():
        if path.is_symlink():
            raise broken_links([path])
        raise SourceError(f"{path} does not exist; give a folder, zip or tar of class folders")
    if path.is_dir():
        return _folder(path, splits, skip)
    return _archive(path)


def stream(files: Files) -> Iterator[tuple[str, int, int, bytes]]:
    """Yield (name, position, size, bytes) of the images of a tar, read again from front to back."""
    with open_tar(files.path) as (file, members):
        for member in members:
            name = _plain(member.name)
            if not member.is_directory and name and _kind_left_out(name) is None and is_image_name(_base(name)):
                data = read_member(file, member, str(files.path)) if member.size <= MAX_IMAGE else b""
                yield name, member.offset, member.size, data


def _folder(path: Path, splits: SplitNames, skip: Path | None) -> Files:
    in_place = skip is not None and skip.exists() and path.samefile(skip)
    if is_shard_set(path) or (is_shard_set(path / SHARDS) and not (path / MANIFEST).is_file()):
        raise SourceError(
            f"{path} holds shards; use them where they lie: feedline prep webdataset {shell_word(path)} --out ROOT"
        )
    if not in_place and _is_root(path):
        raise SourceError(f"{path} is a data set root already; next: feedline shard {shell_word(path)}")
    files = Files(path)
    archives: list[Path] = []
    for name, entry in walk_folder(path, Reading(splits=splits, skip=None if in_place else skip), files.left_out):
        below = name.partition("/")[2]
        if is_image_name(entry.name):
            files.add(below, 0, entry.stat().st_size)
        else:
            files.left_out[_kind(below)] += 1
            if entry.name.lower().endswith(ARCHIVES):
                archives.append(Path(entry.path))
    if not len(files):
        _refuse_empty(path, files, archives)
    if in_place and _is_root(path):  # what feedline itself wrote there
        own = [MANIFEST, *(f"{split}.jsonl" for split in SPLITS)]
        for name in (name for name in own if (path / name).is_file()):
            files.left_out[kind_of(name)] -= 1
    places: dict[str, Path] = {}

    def location(name: str, position: int) -> Location:
        folder, _, base = name.rpartition("/")
        if folder not in places:  # one Path for all files of a folder
            places[folder] = path.joinpath(*folder.split("/")) if folder else path
        return Location(places[folder], base)

    files.location = location
    return files


def _is_root(path: Path) -> bool:
    try:
        with (path / MANIFEST).open("rb") as file:
            return b'"feedline-dataset"' in file.read(200)
    except OSError:
        return False


def _refuse_empty(path: Path, files: Files, archives: list[Path]) -> None:
    for archive in sorted(archives):
        if archive.suffix == ".parquet":
            raise SourceError(
                f"{path} holds parquet files; prepare them with: feedline prep parquet {shell_word(path)} --out ROOT"
            )
        if archive.suffix == ".tar":
            _check_shard(archive)
    if archives:
        raise SourceError(
            f"{path} holds no image, but {len(archives)} archives; give them themselves, such as: {min(archives)}"
        )
    what = listed(files.left_out) if files.left_out else "no file"
    raise SourceError(f"{path} holds no image, but {what}; give a folder, zip or tar of class folders")


def _check_shard(path: Path) -> None:
    """Raise SourceError if the first members of a tar are those of a shard."""
    before = ""
    with open_tar(path) as (_, members):
        for _, member in zip(range(LOOKED_AT), members, strict=False):
            refuse_shards(path, before, member.name)
            before = member.name


def _archive(path: Path) -> Files:
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise SourceError(f"{path} is empty: copy or download it again")
    if other := made_by_other_tool(path.name):
        raise SourceError(f"{path} is {other}, made for another tool; give the images from which it was made")
    if path.name.lower().endswith(LISTS):
        raise SourceError(
            f"{path} is a list; give the folder of its images, and the list with: --labels {shell_word(path)}"
        )
    refuse_strange(path, start)
    if start.startswith(PARQUET):
        raise SourceError(
            f"{path} is a parquet file; prepare it with: feedline prep parquet {shell_word(path)} --out ROOT"
        )
    files = Files(path, streamed=not start.startswith(ZIP) and compression_of(path) is not None)
    if start.startswith(ZIP):
        with path.open("rb", BUFFER) as file:
            for member in walk_zip(file, path.stat().st_size, str(path)):
                _add(files, member.name.rstrip("/"), member.position, member.size, member.name.endswith("/"))
        files.location = lambda name, position: Location(path, position, zipped=True)
    else:
        before, seen = "", 0
        with open_tar(path) as (_, members):
            for member in members:
                if seen < LOOKED_AT:
                    refuse_shards(path, before, member.name)
                    before, seen = member.name, seen + 1
                _add(files, member.name, member.offset, member.size, member.is_directory)
        files.location = lambda name, position: Location(path, position)
    if not len(files):
        what = listed(files.left_out) if files.left_out else "no file"
        raise SourceError(f"{path} holds no image, but {what}; give a folder, zip or tar of class folders")
    return files


def _add(files: Files, name: str, position: int, size: int, is_folder: bool) -> None:
    name = _plain(name)
    if not name:
        return
    if len(name) > MAX_NAME or not is_path_below(name.replace("\\", "/").replace(":", "_")):
        raise SourceError(
            f"{files.path} holds the path {name[:200]!r}, which is refused: it leads out of its folder, or a part of "
            f"it is empty; pack the archive again"
        )
    kind = _kind_left_out(name)
    if is_folder:
        if kind is None:
            files.others.add(name)
    elif kind is None and is_image_name(_base(name)):
        files.add(name, position, size)
    else:
        files.left_out[kind or _kind(name)] += 1
        if kind is None and "/" in name:
            files.others.add(name.rpartition("/")[0])


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return "" if name == "." else name.rstrip("/")


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _kind(name: str) -> str:
    """Return the kind as which a file is counted that is no image of the data."""
    kind = kind_of(name)
    return f"hidden {kind}" if _base(name).startswith(".") and kind.startswith(SUFFIXES) else kind


def _kind_left_out(name: str) -> str | None:
    """Return the kind of what lies in a folder that is passed over in folders too, or None."""
    for folder in name.split("/")[:-1]:
        if folder.startswith(".") or folder.lower() in NOT_OURS:
            return "._*" if folder == "__MACOSX" else f"in {folder}/"
    return None


def _is_ours(entry: "os.DirEntry[str]") -> bool:
    """Whether a folder of the user may be a class or a split."""
    try:
        if not entry.is_dir() or entry.name.startswith(".") or entry.name.lower() in NOT_OURS:
            return False
    except OSError:  # a link to itself
        return False
    return not any((Path(entry.path) / name).exists() for name in (MANIFEST, PARTIAL))
