"""What must hold of recognised sources, whatever is made of them: they go together, agree, and are complete.

Conflicts and label lists are checked before an image is read. Counts are known only after that. Both ``feedline prep``
and ``feedline shard`` call these checks, so that one refuses what the other refuses.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..base.errors import SourceError
from ..base.manifest import Source
from ..base.progress import Notice
from ..labels.completeness import CLASSES, check_bytes, check_counts, check_devkit, is_official
from .class_tars import CLASS_TARS, TRAIN_ARCHIVE
from .label_lists import LabelList, check_labels
from .naming import FLAT_TEST, FLAT_TRAIN, FLAT_VAL, HF
from .parts import IMAGENET, Counts, Part, Unit
from .recognise import Recognised
from .request import Request
from .streams import SPLITS

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
    _check_parts(parts, request)
    for labels in found.label_lists:
        check_labels(labels)
    return parts


def source_of(part: Part, request: Request) -> Source:
    """Return the record of a part and of the splits that were requested of it."""
    return Source(
        name=part.source.resolve().name,
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
        if held[0].layout in OFFICIAL_TARS and is_official(split, per_class, images):
            check_bytes(split, source)
            official[source] = split
        for item in label_lists if split == "train" else ():
            check_devkit(item.train_images, per_class, item.where)
    return official


def report_subset(parts: Sequence[Part], classes: int, notice: Notice) -> None:
    """Report to ``notice`` if there are fewer classes than ImageNet has."""
    if parts and parts[0].dataset == IMAGENET and 0 < classes < CLASSES:
        notice(f"this is a subset: {classes} of ImageNet's {CLASSES} classes")


def _report(parts: Sequence[Part], found: Recognised, notice: Notice) -> None:
    """Report what was recognised: one line per layout and splits, because 294 parquet files are one source."""
    groups: dict[tuple[str, tuple[str, ...]], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.layout, part.splits), []).append(part)
    for (layout, splits), alike in groups.items():
        which = str(alike[0].source) if len(alike) == 1 else f"{alike[0].source} and {len(alike) - 1} more"
        notice(f"{which}: {layout} ({', '.join(splits)}), {sum(part.size for part in alike) / 1e6:.1f} MB")
    for item in found.label_lists:
        notice(f"{item.where}: classes of {len(item.labels)} validation images, to compare")
    for sentence in found.ignored:
        notice(f"ignored: {sentence}")


def _check_parts(parts: Sequence[Part], request: Request) -> None:
    """Raise SourceError for sources that do not go together."""
    if not parts:
        raise SourceError(f"the sources hold nothing of {', '.join(request.splits)}; give an archive of it")
    names = {part.dataset for part in parts}
    if len(names) > 1:
        raise SourceError(f"{' and '.join(sorted(names))} are different data sets; give one of them at a time")
    seen: dict[str, Part] = {}
    for part in parts:
        for split in part.splits:
            other = seen.setdefault(split, part)
            if other is not part and not (other.layout == part.layout and part.layout in SEVERAL):
                raise SourceError(f"{other.source} and {part.source} are both {split} ({part.layout}); give one")
