"""``--delete-source``: archives go only if nothing of them would be lost.

An archive may hold files that are not taken: images in another format, annotations, files of another data set. Those
are counted by kind while the archive is read, and one such file keeps the archive. The count is checked before
anything is written, for what listing the archive shows, and again before it is deleted, when it was read in full.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial as bind
from pathlib import Path

from ..base.errors import OutputError, SourceError
from ..base.paths import below
from ..base.progress import Notice, Progress, counter
from ..base.shell import shell_word
from ..checking.verify import verify
from ..processes.threads import raise_if_stopped, run_all
from ..sources.parts import Part, Unit, distinct
from ..sources.reader import Reader
from ..sources.recognised import Recognised
from ..sources.request import Request


def check_deletable(found: Recognised, request: Request) -> None:
    """Raise SourceError if deleting the sources would lose a file, or delete what is no archive."""
    for part in found.parts:
        if not part.source.is_file():
            raise SourceError(f"{part.source} is a folder, and --delete-source deletes archives only; leave it out")
        if request.classes is not None or not set(part.splits) <= set(request.splits):
            raise SourceError(f"{part.source} holds more than is prepared: --delete-source would lose it; leave it out")
        if problem := _left_out(found.left_out, part.source):
            raise SourceError(problem)


def delete_sources(
    found: Recognised,
    unread: Sequence[Part],
    out: Path,
    request: Request,
    workers: int,
    progress: Progress,
    notice: Notice,
) -> None:
    """Delete the sources if every image that was made of them is in ``out`` and decodes.

    ``unread`` are the parts that this run did not read, because ``out`` was finished before. Their images are compared
    with those in ``out``, byte by byte: another archive may have the same name and size.

    Raises OutputError, and keeps all sources, if an image differs or does not decode, SourceError if a file of a
    source was left out.
    """
    count = counter(progress, "compare, MB", sum(part.size for part in unread), 10**6)
    tasks = [bind(_compare, out, unit, count) for part in unread for unit in part.units(request.keeps)]
    run_all(tasks, workers)
    check_deletable(found, request)
    checked = verify(out, decode=True, workers=workers, progress=progress, shards=False)
    if not checked.ok:
        raise OutputError(
            f"the sources were kept: {checked.problems[0]}; see all with: feedline verify {shell_word(out)} --decode"
        )
    for path in dict.fromkeys(part.source for part in found.parts):
        _delete(path, out, notice)


def _left_out(left_out: Mapping[Path, Mapping[str, int]], source: Path) -> str | None:
    """Return the message about the files of a source that are not taken, or None."""
    kinds = {kind: number for kind, number in left_out.get(source, {}).items() if number}
    if not kinds:
        return None
    total = sum(kinds.values())
    files = "1 file that is" if total == 1 else f"{total} files that are"
    listed = ", ".join(
        f"{number} {kind}" for kind, number in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    )
    return (
        f"{source} also holds {files} not prepared ({listed}), which --delete-source would lose; "
        f"leave --delete-source out"
    )


def _compare(out: Path, unit: Unit, count: Callable[[int], None], stop: threading.Event) -> None:
    with Reader(buffered=True) as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            path = Path(below(out, f"{unit.folder}/{image.path}".removeprefix("/")))
            if not path.is_file() or path.read_bytes() != image.read(reader):
                raise OutputError(
                    f"the sources were kept: {path} differs from {image.where}; "
                    f"see all with: feedline verify {shell_word(out)} --decode"
                )
            count(image.size)


def _delete(path: Path, out: Path, notice: Notice) -> None:
    """Delete an archive; of a symbolic link, the file that it names, and the links."""
    links: list[Path] = []
    while path.is_symlink() and path not in links:
        links.append(path)
        path = path.parent / path.readlink()
    try:
        if path.exists():
            path.unlink()
            notice(f"deleted {path}: every image made of it is in {out} and decodes")
        for link in links:
            link.unlink()
            notice(f"deleted {link}, a link to it")
    except OSError as error:
        raise OutputError(
            f"cannot delete {error.filename}: {error.strerror}; check the permissions of its folder ({out} is finished)"
        ) from error
