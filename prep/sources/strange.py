"""Files that cannot be read as a source, each by its true name and with the command that helps.

An interrupted clone, a login page, a piece of a cut archive: their names promise an archive, their first bytes say what
they are.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ..base.errors import SourceError
from ..base.shell import shell_word
from ..images.files import SUFFIXES

# Pieces of a cut archive: "x.tar.aa" (split), "x.zip.001" (7-Zip), "x.tar.part1", "x.z01" (zip).
PIECE = re.compile(
    r"\.(?:tar|tgz|gz|zip|xz|bz2|zst|7z|rar)\.(?:a[a-z]|[0-9]{2,3}|part-?[0-9a-z]{1,3})$|\.z[0-9]{2}$", re.I
)
# What browsers and download programs call a file that is not there in full.
UNFINISHED = re.compile(
    r"\.(?:tar|tgz|gz|zip|xz|bz2|zst|parquet)\.(?:crdownload|part|partial|aria2|download|opdownload|!qb|tmp)$", re.I
)
LABEL_SUFFIXES = (".cls", ".json", ".txt", ".index", ".id")
SHARD_IMAGES = SUFFIXES


class ForeignError(SourceError):
    """A whole file of something else: an error if it was given, and passed over in a folder."""


def refuse_strange(path: Path, start: bytes) -> None:
    """Raise SourceError for a file that is no archive that can be read; ``start`` is its first bytes."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        raise SourceError(f"{path} is a pointer of git-lfs, not the file itself; fetch it with: git lfs pull")
    if text.startswith((b"<!doctype html", b"<html")):
        raise SourceError(
            f"{path} is an HTML page, which a server sends in place of a file that needs a login; "
            f"log in and download it again"
        )
    if text.startswith((b"<?xml", b"<error", b'{"')):
        raise SourceError(f"{path} is a message of a server ({text[:60]!r}), not the file; download it again")
    if start.startswith(b"7z\xbc\xaf\x27\x1c"):
        raise ForeignError(f"{path} is a 7z archive, which feedline does not read; unpack it with: 7z x {path}")
    if start.startswith(b"Rar!\x1a\x07"):
        raise ForeignError(f"{path} is a RAR archive, which feedline does not read; unpack it with: unrar x {path}")
    if start.startswith((b"\xff\xd8\xff", b"\x89PNG")):
        raise SourceError(f"{path} is one image; give the folder or the archive of the data set")
    refuse_unfinished(path)
    if PIECE.search(path.name):
        refuse_piece(path)


def refuse_text(path: Path, start: bytes) -> None:
    """Raise SourceError for a text in the place of an archive, such as a server's "404: Not Found"."""
    # A tar's header has zeros, and compressed bytes are no UTF-8. The last character of the text may be cut.
    begin = start[:500]
    text = begin.decode("utf-8", "ignore")
    if len(text.encode()) > len(begin) - 4 and all(c.isprintable() or c in "\r\n\t" for c in text):
        raise SourceError(
            f"{path} is a text ({text[:60]!r}), and no archive; download it again, or give the folder of the archives"
        )


def refuse_special(path: Path) -> None:
    """Raise SourceError for a pipe, a socket or a device: reading it may never end, and it cannot be read again."""
    if not path.is_file() and not path.is_dir():
        raise SourceError(f"{path} is a pipe, a socket or a device; write it to a file, and give that file")


def refuse_unfinished(path: Path) -> None:
    """Raise SourceError for a download that was not finished, or for the notes of one."""
    if UNFINISHED.search(path.name):
        raise SourceError(f"{path} belongs to an unfinished download; finish it, or give the other files one by one")


def refuse_piece(path: Path) -> None:
    """Raise SourceError for a piece of a cut archive."""
    whole = path.parent / joined_name(path.name)
    if re.search(r"\.z[0-9]{2}$", path.name, re.I):
        command = f"zip -s 0 {shell_word(whole)} --out {shell_word(f'whole-{whole.name}')}"
    else:
        command = f"cat {shell_word(whole)}.* > {shell_word(whole)}"
    raise SourceError(f"{path} is one piece of {whole.name}, which was cut into pieces; join them with: {command}")


def joined_name(name: str) -> str:
    """Return the name of the archive that a piece belongs to."""
    stem = name.rpartition(".")[0]
    return f"{stem}.zip" if re.search(r"\.z[0-9]{2}$", name, re.I) else stem


def refuse_shards(path: Path, before: str, name: str) -> None:
    """Raise ForeignError if two neighbours in a tar are an image and its label, as WebDataset's shards have them."""
    one, other = before.lower(), name.lower()
    stem = _stem(one)
    if not stem or stem != _stem(other):
        return
    # Beside an image in a class folder, .json or .txt may be anything.
    labels = LABEL_SUFFIXES if "/" not in stem else LABEL_SUFFIXES[:1]
    for image, label in ((one, other), (other, one)):
        if image.endswith(SHARD_IMAGES) and label.endswith(labels):
            raise ForeignError(
                f"{path} is a WebDataset shard, which is used where it lies; prepare its folder with: "
                f"feedline prep webdataset {shell_word(path.parent)} --out ROOT"
            )


def _stem(name: str) -> str:
    folder, _, base = name.removeprefix("./").rpartition("/")
    key = base.partition(".")[0]
    return f"{folder}/{key}" if folder and key else key


def broken_links(links: Sequence[Path]) -> SourceError:
    """Return the error for symbolic links to files that are not there."""
    first = links[0]
    target = str(first.readlink())
    more = f" and {len(links) - 1} more" if len(links) > 1 else ""
    count = f"{len(links)} symbolic link{'s' * (len(links) != 1)} to files that are not there"
    folder = shell_word(first.parent)
    if "annex" in target.replace("\\", "/").split("/"):
        advice = f"fetch them with: git annex get {folder} (or: datalad get {folder})"
    else:
        advice = "bring their targets back, or give a folder without them"
    return SourceError(f"{first}{more}: {count}, the first to {target!r}; {advice}")
