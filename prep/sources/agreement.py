"""What must hold of recognised sources, whatever is made of them: they go together, agree, and are complete.

Conflicts and label lists are checked before an image is read. Counts are known only after that. Both ``feedline prep``
and ``feedline shard`` call these checks, so that one refuses what the other refuses.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..base.errors import SourceError
from ..base.manifest import Source
from ..base.progress import Notice
from ..labels.completeness import CLASSES, check_bytes, check_counts, check_devkit, is_official
from .class_tars import CLASS_TARS, PACKED_TRAIN, REPACKED_TRAIN, TRAIN_ARCHIVE
from .label_lists import LabelList, check_labels
from .naming import CLASS_FOLDERS, FLAT_TEST, FLAT_TRAIN, FLAT_VAL, HF, SPLITS, WNID
from .parts import IMAGENET, Counts, Keep, Part, Unit
from .reader import Reader
from .reading import command_line, listed, unnamed_splits
from .recognised import Recognised
from .request import Request

SEVERAL = (HF, FLAT_TRAIN, CLASS_TARS)  # layouts whose splits come in several sources
OFFICIAL_TARS = (TRAIN_ARCHIVE, FLAT_VAL, FLAT_TEST)


def agreed_parts(found: Recognised, request: Request, notice: Notice) -> list[Part]:
    """Return the parts that hold requested splits, in the order of the splits; report to ``notice`` what they are.

    Raises SourceError if there are none, for parts that do not go together, and for a label list that differs from
    the official one.
    """
    parts = [part for part in found.parts if any(split in request.splits for split in part.splits)]
    parts.sort(key=lambda part: min(map(request.splits.index, set(part.splits) & set(request.splits))))
    _report(parts, found, notice)
    parts = _together(parts, request)
    for labels in found.label_lists:
        check_labels(labels)
    return parts


def source_of(part: Part, request: Request) -> Source:
    """Return the record of a part and of the splits that were requested of it."""
    return Source(
        # JSON holds no name that is not UTF-8.
        name=os.fsencode(part.source.resolve().name).decode("utf-8", "replace"),
        bytes=part.source.stat().st_size if part.source.is_file() else part.size,
        layout=part.layout,
        splits=tuple(split for split in part.splits if split in request.splits or split not in SPLITS),
        subset=request.classes is not None,
    )


def units_of(part: Part, request: Request) -> list[Unit]:
    """Return a part's units; raise SourceError for a training archive of all classes with another size."""
    units = part.units(request.keeps)
    if part.layout == TRAIN_ARCHIVE and len(units) == CLASSES and not part.signed and request.checksum != "none":
        check_bytes("train", part.source)
    return units


def empty_classes(part: Part, request: Request) -> set[str]:
    """Return the class folders in the folder of a part's train that hold no image of the part.

    They are classes too, so that prepared roots and shards number the classes alike.
    """
    if "train" not in part.splits or not part.source.is_dir():
        return set()
    parents, held = set[Path](), set[str]()
    with Reader() as reader:
        for unit in part.units(request.keeps):
            if unit.folder.startswith("train/") and (image := next(unit.images(reader), None)):
                held.add(unit.folder.partition("/")[2])
                place = part.source if isinstance(image.data, bytes) else image.data.place
                # A source that is one class folder has neighbours, which are none of its own.
                if WNID.fullmatch(place.name) and place != part.source:
                    parents.add(place.parent)
    found: set[str] = set()
    for parent in parents:
        with os.scandir(parent) as entries:
            names = {entry.name for entry in entries if WNID.fullmatch(entry.name) and entry.is_dir()}
        found |= {name for name in names if request.keeps("train", name)}
    return found - held


def check_complete(
    parts: Sequence[Part], counts: Counts, label_lists: Sequence[LabelList], request: Request
) -> Mapping[Path, str]:
    """Raise SourceError if all classes of ImageNet were read and the numbers are not the official ones.

    Returns {archive: split} of the official tars that hold the whole of a split.
    """
    official: dict[Path, str] = {}
    if request.checksum == "none" or request.classes is not None:
        return official
    for split in request.splits:
        held = [part for part in parts if split in part.splits and part.dataset == IMAGENET and not part.signed]
        if not held:
            continue
        source = held[0].source
        places = [(*folder.partition("/"), files) for folder, (files, _) in counts.items()]
        per_class = {wnid: files for found, _, wnid, files in places if found == split and wnid}
        images = sum(files for found, _, _, files in places if found == split)
        check_counts(split, per_class, images, str(source))
        if held[0].layout in OFFICIAL_TARS and not held[0].streamed and is_official(split, per_class, images):
            check_bytes(split, source)
            official[source] = split
        for item in label_lists if split == "train" else ():
            check_devkit(item.train_images, per_class, item.where)
    return official


def report_subset(parts: Sequence[Part], classes: int, notice: Notice) -> None:
    """Report to ``notice`` if there are fewer classes than ImageNet has."""
    if parts and parts[0].dataset == IMAGENET and 0 < classes < CLASSES:
        notice(f"this is a subset: {classes} of ImageNet's {CLASSES} classes")


def report_left_out(found: Recognised, notice: Notice) -> None:
    """Report to ``notice`` which files of each source are not taken. Of tars that is known after they were read."""
    for source, kinds in found.left_out.items():
        if kinds:
            notice(f"{source}: left out: {listed(kinds)}")
    for name in found.splits.unused:
        notice(f"--split-from {name}: no folder or archive of the sources has this name")


def _report(parts: Sequence[Part], found: Recognised, notice: Notice) -> None:
    """Report what was recognised: one line per layout and splits, because 294 parquet files are one source."""
    groups: dict[tuple[str, tuple[str, ...]], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.layout, part.splits), []).append(part)
    for (layout, splits), alike in groups.items():
        which = str(alike[0].source) if len(alike) == 1 else f"{alike[0].source} and {len(alike) - 1} more"
        notice(f"{which}: {layout} ({', '.join(splits)}), {sum(part.size for part in alike) / 1e6:.1f} MB")
        if any(part.guessed for part in alike):
            notice(f"{which}: no name says a split, so it is taken as train; else add: --split-from NAME=val")
    for item in found.label_lists:
        notice(f"{item.where}: classes of {len(item.labels)} validation images, to compare")
    for sentence in found.ignored:
        notice(f"ignored: {sentence}")


def _together(parts: Sequence[Part], request: Request) -> list[Part]:
    """Return the parts, with shared units where several hold a split; raise SourceError for a conflict."""
    if not parts:
        raise SourceError(f"the sources hold nothing of {', '.join(request.splits)}; give an archive of it")
    names = {part.dataset for part in parts}
    if len(names) > 1:
        raise SourceError(f"{' and '.join(sorted(names))} are different data sets; give one of them at a time")
    sharing: set[int] = set()
    for split in SPLITS:
        held = [part for part in parts if split in part.splits]
        for number, part in enumerate(held):
            for other in held[:number]:
                if _is_several(other, part):
                    continue
                if not _is_set(other, part):
                    raise _conflict(other, part, split, request.command)
                sharing |= {id(other), id(part)}
    return [_sharing(part) if id(part) in sharing else part for part in parts]


def _is_several(one: Part, other: Part) -> bool:
    """Whether a split of this layout comes in several sources, or class tars and class folders complete each other."""
    if one.layout == other.layout and one.layout in SEVERAL:
        return True
    return {one.layout, other.layout} == {CLASS_TARS, CLASS_FOLDERS} and (
        one.source.is_relative_to(other.source) or other.source.is_relative_to(one.source)
    )


def _is_set(one: Part, other: Part) -> bool:
    """Whether two archives of class folders may hold pieces of one split, and which is which is known.

    What a compressed tar of a tree holds is not known before it is read. An image that comes twice stops the command.
    """
    if any(part.streamed and len(part.splits) > 1 for part in (one, other)):
        return True
    if not (one.layout == other.layout == CLASS_FOLDERS and one.source.is_file() and other.source.is_file()):
        return False
    if not (one.guessed or other.guessed):
        return True
    same_folder = one.source.parent == other.source.parent
    return same_folder and NUMBER.sub("#", one.source.name) == NUMBER.sub("#", other.source.name)


NUMBER = re.compile(r"[0-9]+")


def _sharing(part: Part) -> Part:
    """Return a part whose units write into folders that other parts write into too."""

    def units(keep: Keep) -> list[Unit]:
        return [replace(unit, shared=True) for unit in part.units(keep)]

    return replace(part, units=units)


def _conflict(one: Part, other: Part, split: str, command: str) -> SourceError:
    where = f"{one.source} and {other.source}"
    if one.source != other.source and one.layout == other.layout == CLASS_FOLDERS and (one.guessed or other.guessed):
        names = sorted({part.source.resolve().name.partition(".")[0] for part in (one, other) if part.guessed})
        if len(names) == 1 and one.guessed and other.guessed:  # both have the same name, in folders that tell no split
            names = sorted({one.source.resolve().parent.name, other.source.resolve().parent.name})
        # shard takes one source.
        both = os.path.commonpath([one.source, other.source]) if command == "shard" else f"{one.source} {other.source}"
        return unnamed_splits(where, names, both, command)
    if one.layout == other.layout:
        return SourceError(f"{where} are both {split} ({one.layout}); give one")
    archive = next(
        (part for part in (one, other) if part.layout in (*OFFICIAL_TARS, PACKED_TRAIN, REPACKED_TRAIN)), one
    )
    return SourceError(
        f"{one.source} ({one.layout}) and {other.source} ({other.layout}) are both {split}, as an archive and what was "
        f"unpacked from it are; give one, such as: {command_line(command, archive.source)}"
    )
