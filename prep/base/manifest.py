"""The manifests, which list what a dataset root and its shards hold.

    ROOT/manifest.json           Manifest: classes, splits, counts, and what they were prepared from
    ROOT/shards/manifest.json    ShardManifest: encoding, seed, and every shard with its count and sha256

A manifest is written last. A directory without its manifest is unfinished, and feedline rejects it. The class
index of a sample is the position of its class in the manifest. The classes are sorted by their ids, unless the source
numbers them. ImageNet's class ids are wnids (WordNet 3.0 noun synset: ``n`` and eight digits).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from .documents import read_document
from .errors import DatasetError
from .names import ClassId, PathBelow, Place, PlainName, PlainPath
from .origins import origin_of
from .paths import GivenPath
from .shell import shell_word

MANIFEST = "manifest.json"
"""The name of a manifest, in a root and in a set of shards."""
SHARDS = "shards"
"""The name of the folder of a root that has its shards."""
MAKE = "feedline prep imagefolder FOLDER --out {root} (ImageNet: feedline prep imagenet ARCHIVES --out {root})"
"""The commands that make a root."""

Order = Literal["shuffled", "sequential", "two-level"]
"""The order of the samples over all shards: permuted, as in the source, or in runs that are permuted and mixed."""
Encode = Literal["copy", "restart", "resize", "raw"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One archive or folder from which the data was prepared."""

    name: str
    bytes: int
    """The size of the archive, or of the images in a folder."""
    layout: str = ""
    """The layout as which it was recognised."""
    splits: tuple[str, ...] = ()
    """The splits that were requested from it."""
    subset: bool = False
    """Whether only some classes were requested from it."""
    md5: str | None = None
    digest: str | None = None
    """Of labelled images: sha256 of their names, sizes and classes, and of where they were put."""


@dataclass(frozen=True, kw_only=True)
class ClassEntry:
    """One class; its index is its position in the manifest."""

    id: Annotated[ClassId, Field(validation_alias=AliasChoices("id", "wnid"))]
    """Text of any script. Manifests before 0.2 call it ``wnid``."""
    name: str
    folder: PathBelow | None = None
    """The name of its class folders, if that is not the id."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The counts of one split, and where it lies. An unlabelled split has no ``per_class``."""

    images: int
    bytes: int
    per_class: tuple[int, ...] = ()
    """Images of each class, by class index."""
    folder: PathBelow | Literal["."] | None = None
    """The folder below the root that holds its class folders, if it is not named as the split; "." is the root."""
    listed: bool = False
    """Whether ``ROOT/<split>.jsonl`` lists its images, which lie anywhere below the root."""
    columns: tuple[str, ...] = ()
    """The names of further values of each sample, which ``ROOT/<split>.jsonl`` holds."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``ROOT/manifest.json``."""

    format: Literal["feedline-dataset"] = "feedline-dataset"
    version: Literal[1] = 1
    dataset: PlainName
    """The name of the data set, such as "imagenet"."""
    classes: tuple[ClassEntry, ...]
    """By class index."""
    splits: dict[PlainName, Split]
    """{"train", "val" or "test": its counts}."""
    sources: tuple[Source, ...]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One tar of a split."""

    name: PlainPath
    """Its path below the shards' directory, with forward slashes."""
    samples: int
    bytes: int
    sha256: str
    modified: int | None = None
    """The time of its last change, in nanoseconds since 1970, of a shard of another tool that lies elsewhere."""


@dataclass(frozen=True, kw_only=True)
class ShardSplit:
    """The shards of one split, in order."""

    samples: int
    shards: tuple[Shard, ...]
    per_class: tuple[int, ...] = ()
    """Samples of each class, by class index; empty in manifests before 0.2."""
    source_bytes: int | None = None
    """Size of the images in the source; None if unknown, as for shards of another tool."""
    labelled: bool = True
    """Whether its samples have classes; without them they are counted only."""
    columns: tuple[str, ...] = ()
    """The names of further values of each sample, which ``<shard>.jsonl`` holds for each shard."""


@dataclass(frozen=True, kw_only=True)
class ShardManifest:
    """``ROOT/shards/manifest.json``."""

    format: Literal["feedline-shards"] = "feedline-shards"
    version: Literal[1] = 1
    dataset: PlainName
    encode: Encode
    order: Order
    seed: int
    classes: tuple[ClassEntry, ...]
    splits: dict[PlainName, ShardSplit]
    short_side: int | None = None
    """Pixels, for ``encode`` "resize", and for "raw" if the images were made smaller."""
    quality: int | None = None
    """JPEG quality from 1 to 100, for ``encode`` "resize"."""
    metadata: bool = False
    """Whether each sample has a ``.json`` with its class, width, height and original file name."""
    passed_through: dict[str, int] = field(default_factory=dict[str, int])
    """{kind, such as "damaged" or "cmyk": images that ``encode`` left unchanged}."""
    made_sequential: int = 0
    """Progressive JPEGs that ``encode`` made sequential, coefficient for coefficient; 0 in manifests before 0.2."""
    orientation_applied: dict[str, int] | None = None
    """{"lossless" or "reencoded": images that were turned as their EXIF says}; None if EXIF was ignored."""
    place: Place | None = None
    """The folder of the shards if they lie elsewhere: absolute, or relative to the manifest's, with forward slashes."""
    label_from: str | None = None
    """Where a sample's class stands in shards of other tools: "cls", "txt", "folder" or "json:KEY".

    None: its ``.cls`` holds the class index.
    """
    image_extension: str | None = None
    """The extension of the member to take if samples hold several images."""


def read_manifest(root: GivenPath) -> Manifest:
    """Return a dataset root's manifest; raise DatasetError if the root is missing, unfinished or a folder of shards."""
    root = Path(root)
    refuse_shards(root)
    if not (root / MANIFEST).is_file() and origin_of(root / SHARDS) is not None:
        raise DatasetError(
            f"{root} is behind a URL, where shards are read and class folders are not; "
            "choose a loader of shards, such as threaded"
        )
    above = root.absolute().parent
    if root.is_dir() and not (root / MANIFEST).exists() and root.name != SHARDS and (above / MANIFEST).is_file():
        raise DatasetError(f"{root} has no {MANIFEST}, and the folder that holds it has one; give that: {above}")
    word = shell_word(root)
    command = MAKE.format(root=word)
    if root.is_dir() and not (root / ".partial").exists():
        command = f"feedline prep imagefolder {word} --out {word}, which copies nothing, if {root} holds class folders"
    _require(root, "no finished data set", command)
    return read_document(root / MANIFEST, Manifest)


def read_shard_manifest(shards: GivenPath) -> ShardManifest:
    """Return a shard directory's manifest; raise DatasetError if the directory is missing or unfinished."""
    shards = Path(shards)
    root = shards.parent if shards.name == SHARDS else "ROOT"
    if shards.name == SHARDS and not is_shard_set(shards):
        refuse_shards(shards.parent)
        if not shards.parent.exists():  # which feedline shard could not read
            _require(shards.parent, "no finished data set", MAKE.format(root=shell_word(shards.parent)))
    _require(shards, "no finished shards", f"feedline shard {shell_word(root)}")
    return read_document(shards / MANIFEST, ShardManifest)


def is_shard_set(directory: Path) -> bool:
    """Return whether a directory has the manifest of shards."""
    try:
        with (directory / MANIFEST).open("rb") as file:
            return b'"feedline-shards"' in file.read(200)
    except OSError:
        return False


def refuse_shards(root: Path) -> None:
    """Raise DatasetError, which names the root to give, if a directory that should be a root is a folder of shards."""
    if not is_shard_set(root):
        return
    place = root.absolute()
    if place.name == SHARDS:
        raise DatasetError(f"{root} is a folder of shards; give the root that holds it: {place.parent}")
    raise DatasetError(
        f"{root} is a folder of shards, and a root has its shards in ROOT/{SHARDS}; "
        f"make a folder ROOT, move {root} to ROOT/{SHARDS}, and give ROOT"
    )


def _require(directory: Path, problem: str, command: str) -> None:
    if directory.is_file():
        raise DatasetError(f"{directory} is a file; give a folder, or make one with: {command}")
    if not directory.is_dir():
        raise DatasetError(f"{directory} does not exist; make it with: {command}")
    if (directory / MANIFEST).is_file():
        return
    tars = next(directory.glob("*.tar"), None)
    if tars is not None and not (directory / ".partial").exists():
        raise DatasetError(
            f"{directory} has no {MANIFEST}, but {tars.name}; if it holds shards, index them: "
            f"feedline shard --index-only {shell_word(directory)}; otherwise run: {command}"
        )
    run = "run again" if (directory / ".partial").exists() else "run"
    raise DatasetError(f"{directory} has {problem} (it has no {MANIFEST}); {run}: {command}")
