"""Names on the disk for classes and images of any names: what no system can hold is escaped, so that it can be traced.

A class folder is called as its class, and an image as its file, with the folders between them put before it:
``2021/a.jpg`` becomes ``2021_a.jpg``. Characters that Windows or a path cannot hold are percent-encoded as in a URL.
A digest keeps names apart that would be one. It depends on the names of the class alone.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from ..base.names import MAX_NAME, RESERVED, is_plain_name

UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]|[. ]+$')
ROOM = 24  # bytes of a name that are left for temporary names of other programs
DIGITS = 8  # of a digest


def folded(name: str) -> str:
    """Return what names share that are one file on a disk that ignores case or normalises Unicode, as of macOS."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def escaped(name: str) -> str:
    """Return a name that every system can hold: ``name`` itself if it is one, else percent-encoded and shortened."""
    if is_plain_name(name) and len(name.encode()) <= MAX_NAME - ROOM:
        return name
    safe = UNSAFE.sub(lambda found: "".join(map(_encoded, found[0])), name.replace("%", "%25"))
    if RESERVED.fullmatch(safe):
        safe = _encoded(safe[0]) + safe[1:]
    return safe if len(safe.encode()) <= MAX_NAME - ROOM else _shortened(safe, name)


def flattened(path: str) -> str:
    """Return a file's name for its path below its class folder."""
    return escaped(path.replace("/", "_"))


def with_digest(name: str, of: str) -> str:
    """Return ``name`` with a digest of ``of`` before its suffix."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        stem, dot, suffix = name, "", ""
    return f"{stem}~{_digest(of)}{dot}{suffix}"


def folder_names(ids: Iterable[str]) -> Mapping[str, str]:
    """Return {class id: the name of its folder}, all of them different on every disk."""
    names = {name: escaped(name) for name in ids}
    taken: set[str] = set()
    for name in sorted(names, key=lambda name: names[name] != name):  # a name that is not changed comes first
        if folded(names[name]) in taken:
            names[name] = with_digest(names[name], name)
        taken.add(folded(names[name]))
    return names


def file_names(paths: Sequence[str]) -> list[str]:
    """Return the names of a class's files in its folder for their paths, in order, all of them different.

    The paths must differ on every disk, as ``twins`` checks.
    """
    names = [flattened(path) for path in paths]
    held: dict[str, int] = {}
    for name in names:
        held[folded(name)] = held.get(folded(name), 0) + 1
    return [
        name if held[folded(name)] == 1 or name == path else with_digest(name, path)
        for path, name in zip(paths, names, strict=True)
    ]


def twins(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two names that a disk may take for one, or None."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(folded(name), name)) != name:
            return other, name
    return None


def difference(one: str, other: str) -> str:
    """Return how two names differ that a disk may take for one."""
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    return "in the form of their accents (NFC and NFD)" if same else "in case"


def _encoded(character: str) -> str:
    is_byte = "\udc80" <= character <= "\udcff"  # of a name that is not UTF-8
    data = character.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in data)


def _shortened(safe: str, name: str) -> str:
    """Return the beginning of a name that is too long, a digest of the whole, and its suffix."""
    stem, dot, suffix = safe.rpartition(".")
    if not dot or not stem or len(suffix) > DIGITS:
        stem, dot, suffix = safe, "", ""
    room = MAX_NAME - ROOM - DIGITS - 2 - len(suffix.encode())
    return f"{stem.encode()[:room].decode('utf-8', 'ignore')}~{_digest(name)}{dot}{suffix}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
