"""The keys of samples in a shard: the stems of the files' names, or a safe and unique form of them.

Readers cut a member's name at its first dot, split lists at spaces, skip a leading ``__``, and group by key. So a stem
with other characters is escaped byte by byte as in an address (``%20``). One that several samples share gets its class
in front (``<class>_<stem>``), or the folders of an image that a list names (``photos_2021_<stem>``). One that is too
long, or is still not unique, ends with a checksum of class and name.
The keys depend on nothing but the names, and a set whose stems are all fit keeps them. The sample's ``.json`` has the
file's own name.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..base.errors import DatasetError
from ..base.manifest import ClassEntry
from ..roots.samples import Sample

MAX_KEY = 100 - len(".json")  # characters: the name field of a USTAR header
UNFIT = re.compile(r"[^\x21-\x2d\x2f-\x7e]")  # all but printable ASCII, and the dot and the space
DIGEST = 16  # hexadecimal digits


def with_keys(samples: Sequence[Sample], classes: Sequence[ClassEntry]) -> list[Sample]:
    """Return the samples of a split, each with a unique key that every reader holds.

    Raises DatasetError if two samples have the same class and file name.
    """
    stems = [escaped(sample.key) for sample in samples]
    counts = Counter(stems)
    if len(counts) == len(stems) and all(map(_fits, stems)):
        return [
            sample if sample.key == stem else replace(sample, alias=stem)
            for sample, stem in zip(samples, stems, strict=True)
        ]
    keys = [
        stem if counts[stem] == 1 and _fits(stem) else _longer(sample, stem, counts[stem] > 1, classes)
        for sample, stem in zip(samples, stems, strict=True)
    ]
    counts = Counter(keys)
    keys = [
        key if counts[key] == 1 or key == sample.key else _shortened(key, _digest(sample, classes))
        for sample, key in zip(samples, keys, strict=True)
    ]
    seen: dict[str, Sample] = {}
    for sample, key in zip(samples, keys, strict=True):
        if key in seen:
            raise DatasetError(f"{sample} and {seen[key]} have the same key {key}; rename one")
        seen[key] = sample
    return [
        sample if sample.key == key else replace(sample, alias=key) for sample, key in zip(samples, keys, strict=True)
    ]


def escaped(stem: str) -> str:
    """Return a stem with each character that no key can hold as ``%`` and the hexadecimal digits of its bytes."""
    if not UNFIT.search(stem) and not stem.startswith("__"):
        return stem
    text = UNFIT.sub(_escaped_character, stem)
    return "%5F" + text[1:] if text.startswith("__") else text


def _escaped_character(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in _bytes_of(match[0]))


def _longer(sample: Sample, stem: str, shared: bool, classes: Sequence[ClassEntry]) -> str:
    folders = sample.name.rpartition("/")[0] or classes[sample.label].id
    key = escaped(f"{escaped(folders.replace('/', '_'))}_{stem}") if shared else stem
    return key if _fits(key) else _shortened(key, _digest(sample, classes))


def _shortened(key: str, digest: str) -> str:
    return f"{key[: MAX_KEY - 1 - DIGEST]}-{digest}"


def _digest(sample: Sample, classes: Sequence[ClassEntry]) -> str:
    name = _bytes_of(f"{classes[sample.label].id}/{sample.name}")
    return hashlib.sha256(name).hexdigest()[:DIGEST]


def _bytes_of(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, which names on Windows can hold
        return text.encode("utf-8", "surrogatepass")


def _fits(key: str) -> bool:
    return 0 < len(key) <= MAX_KEY
