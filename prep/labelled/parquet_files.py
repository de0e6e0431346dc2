"""Finding parquet files, and the split that the name of each says."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import SourceError
from ..base.shell import shell_word
from ..sources.naming import SPELLINGS, SplitNames
from ..sources.parquet import PARQUET
from ..sources.reading import Reading
from ..sources.strange import broken_links, refuse_strange
from ..sources.walking import walk_folder

SUFFIX = ".parquet"
SHARD = re.compile(r"(.+?)-[0-9]{5}-of-[0-9]{5}(?:-[0-9a-f]+)?")
"""Hugging Face's name of a file: its split, its number, how many there are, and a digest."""


@dataclass(frozen=True)
class ParquetFile:
    """One parquet file."""

    path: Path
    name: str
    """How rows without names are named: its own name, or with its folders if several files have it."""
    split: str
    """The split that its name or its folders say, or ""."""


def find_files(sources: Sequence[Path], splits: SplitNames, skip: Path | None) -> list[ParquetFile]:
    found: dict[Path, tuple[str, str]] = {}  # {file: (path below its source without suffix, split)}
    seen: dict[Path, Path] = {}
    for source in sources:
        if not source.exists():
            raise broken_links([source]) if source.is_symlink() else SourceError(f"{source} does not exist; check it")
        above = splits.of_source(source.resolve()) if source.is_dir() else None
        for path, below in _below(source, splits, skip):
            if (other := seen.setdefault(path.resolve(), path)) is not path:
                raise SourceError(f"{path} and {other} are one file; give it once")
            found[path] = below.removesuffix(SUFFIX), _split_of(below, splits) or above or ""
    unsaid = [path for path, (_, split) in found.items() if not split]
    if unsaid and len(unsaid) < len(found):
        one, other = unsaid[0], next(path for path in found if path not in unsaid)
        name = SHARD.fullmatch(one.stem)
        raise SourceError(
            f"nothing says the split of {one}, but {other} is of {found[other][1]}; say it, with train, val or "
            f'test for SPLIT: --split-from "{name[1] if name else one.stem}=SPLIT"'
        )
    stems = [path.stem for path in found]
    return [
        ParquetFile(path, path.stem if stems.count(path.stem) == 1 else below, split)
        for path, (below, split) in found.items()
    ]


def _below(source: Path, splits: SplitNames, skip: Path | None) -> list[tuple[Path, str]]:
    """Return (file, path below the source) of the parquet files of a source, sorted."""
    if source.is_dir():
        walked = walk_folder(source, Reading(splits=splits, skip=skip))
        paths = {name.partition("/")[2]: Path(entry.path) for name, entry in walked if _is_parquet(entry.name)}
        if not paths:
            raise SourceError(
                f"{source} holds no parquet file; give a folder of them, or for class folders use: feedline prep "
                f"imagefolder {shell_word(source)} --out ROOT"
            )
        for path in paths.values():
            _check_start(path)
        return [(paths[name], name) for name in sorted(paths)]
    _check_start(source)
    above = source.absolute().parent.name
    says = above in splits.chosen or above.lower() in SPELLINGS  # a folder above may say "test" for other reasons
    return [(source, f"{above}/{source.name}" if says else source.name)]


def _is_parquet(name: str) -> bool:
    return name.lower().endswith(SUFFIX) and not name.startswith(".")


def _check_start(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(PARQUET):
        return
    if start:
        refuse_strange(path, start)
    raise SourceError(f"{path} {'is no parquet file' if start else 'is empty'}; copy or download it again")


def _split_of(below: str, splits: SplitNames) -> str | None:
    """Return the split that a file's name says, else the nearest of its folders."""
    *folders, base = below.split("/")
    stem = base.removesuffix(SUFFIX)
    shard = SHARD.fullmatch(stem)
    split = splits.of(shard[1]) if shard else splits.of(stem) if stem in splits.chosen else splits.of_source(Path(stem))
    return split or next((found for found in map(splits.of, reversed(folders)) if found), None)
