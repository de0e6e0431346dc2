"""What a dataset root records of its sources, so that the same command continues it or leaves it unchanged.

A finished root records every part that it was made from. A request for the same parts returns it as it is, one for
further splits adds them, and one for the same split of another source is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..base.disks import remove_tree
from ..base.documents import read_document, write_document
from ..base.errors import OutputError
from ..base.manifest import MANIFEST, ClassEntry, Manifest, Source, Split, read_manifest
from ..base.output import JOB, PARTIAL, OutputJob
from ..labels.imagenet import class_names
from ..sources.agreement import source_of
from ..sources.naming import SPLITS
from ..sources.parts import Counts, Part
from ..sources.request import Request
from .classes import listed
from .write import split_of

LABELLED = ("train", "val")


def job_of(parts: Sequence[Part], request: Request) -> OutputJob:
    """Return the description of an unfinished run: equal ones may continue each other."""
    settings: dict[str, str | int | list[str]] = {
        "sources": [_line(source_of(part, request)) for part in parts],
        "classes": sorted(request.classes or ()),
    }
    if request.split_from:
        settings["split_from"] = [f"{name}={split}" for name, split in sorted(request.split_from.items())]
    return OutputJob(command=request.command, settings=settings)


def clear_leftover(out: Path, before: Manifest) -> None:
    """Remove what a run left that was killed between its manifest and the end; another unfinished run stays."""
    partial = out / PARTIAL
    sources = read_document(partial / JOB, OutputJob).settings.get("sources") if (partial / JOB).is_file() else []
    done = {_line(source) for source in before.sources}
    if partial.exists() and isinstance(sources, list) and set(sources) <= done:
        remove_tree(partial)


def finished(out: Path, parts: Sequence[Part], dataset: str, request: Request) -> Manifest | None:
    """Return the manifest of a finished root, None without one; raise OutputError for other sources."""
    if not (out / MANIFEST).is_file():
        return None
    before = read_manifest(out)
    if before.dataset != dataset:
        raise OutputError(f"{out} holds another data set ({before.dataset}); choose another directory with --out")
    if is_adopted(out, parts):  # its folders may have changed since
        return before if all(is_recorded(before, part, request) for part in parts) else None
    for part in parts:
        again = set(part.splits) & set(request.splits) & set(before.splits)
        if again and not is_recorded(before, part, request):
            raise OutputError(
                f"{out} holds {', '.join(sorted(again))} of {', '.join(source.name for source in before.sources)}, "
                f"not of {part.source} as it is now; choose another directory with --out"
            )
    if request.classes is not None and {entry.id for entry in before.classes} - request.classes:
        raise OutputError(f"{out} holds classes that are not asked for; choose another directory with --out")
    missing = sorted((request.classes or frozenset()) - {entry.id for entry in before.classes})
    if missing and any(is_recorded(before, part, request) for part in parts if set(part.splits) & set(LABELLED)):
        raise OutputError(
            f"{out} has no class {listed(missing)}, which --classes names; correct the file or choose another "
            f"directory with --out"
        )
    return before


def is_recorded(before: Manifest, part: Part, request: Request) -> bool:
    """Whether a finished root was made from the requested splits of this part."""
    asked = source_of(part, request)
    return any(
        replace(source, md5=None, splits=()) == replace(asked, splits=()) and set(asked.splits) <= set(source.splits)
        for source in before.sources
    )


def is_adopted(out: Path, parts: Sequence[Part]) -> bool:
    """Whether the source is the output itself: class folders that only lack a manifest."""
    return out.is_dir() and all(part.source.is_dir() and part.source.samefile(out) for part in parts)


def manifest_of(
    parts: Sequence[Part],
    counts: Counts,
    dataset: str,
    before: Manifest | None,
    digests: Mapping[Path, str],
    request: Request,
) -> Manifest:
    """Return the manifest of the splits just written and of those that were there before."""
    places = [folder.partition("/") for folder in counts]
    labelled = {wnid for split, _, wnid in places if split in SPLITS and wnid}
    classes = sorted(labelled | {entry.id for entry in (before.classes if before else ())})
    earlier = {name: _widen(split, before, classes) for name, split in before.splits.items()} if before else {}
    written = {split for split, _, _ in places}
    splits = {split: split_of(counts, split, _labels(split, classes)) for split in SPLITS if split in written}
    names = {**class_names(), **{entry.id: entry.name for entry in (before.classes if before else ())}}
    names |= request.names
    return Manifest(
        dataset=dataset,
        classes=tuple(ClassEntry(id=wnid, name=names.get(wnid, wnid)) for wnid in classes),
        splits={**earlier, **splits},
        sources=(
            *(before.sources if before else ()),
            *(replace(source_of(part, request), md5=digests.get(part.source)) for part in parts),
        ),
    )


def with_folders(manifest: Manifest, folders: Mapping[str, str]) -> Manifest:
    """Return a manifest whose splits lie in ``folders``, below the root, where these are not called as the split."""
    splits = {
        name: replace(split, folder=folders[name]) if folders.get(name, name) != name else split
        for name, split in manifest.splits.items()
    }
    return replace(manifest, splits=splits)


def renamed(out: Path, manifest: Manifest, request: Request) -> Manifest:
    """Return a finished root's manifest, its classes renamed where the request names them otherwise."""
    classes = tuple(replace(entry, name=request.names.get(entry.id, entry.name)) for entry in manifest.classes)
    if classes != manifest.classes:
        manifest = replace(manifest, classes=classes)
        write_document(out / MANIFEST, manifest)
    return manifest


def _line(source: Source) -> str:
    return f"{source.name} {source.bytes} {' '.join(source.splits)}"


def _labels(split: str, classes: list[str]) -> list[str]:
    return [] if split == "test" else classes


def _widen(split: Split, before: Manifest, classes: list[str]) -> Split:
    """Return the counts of an earlier split over a class list that may have grown."""
    if not split.per_class:
        return split
    old = dict(zip((entry.id for entry in before.classes), split.per_class, strict=True))
    return replace(split, per_class=tuple(old.get(wnid, 0) for wnid in classes))
