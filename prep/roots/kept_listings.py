"""Listings that are kept: made by the first process that needs one, and mapped by all others.

    <user's cache folder>/listings/<sha256 of root and split>.listing    see ``listing``

A kept listing is used as long as the root's manifest, the list of the split if it has one, and the times of all
folders that hold its images are what they were when it was made. A folder's time changes whenever a file in it is
added, removed or renamed. What a file holds may change: a listing has names only. A listing is not kept if a folder was
changed in the two seconds before, because a further change could leave the same time. The first process holds a file
lock while it lists; the others wait, then map its file. If the cache folder cannot be written, each process lists for
itself.
"""

import json
import os
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from ..base.documents import to_json
from ..base.manifest import MANIFEST, Manifest
from ..base.paths import cache_folder
from ..base.retries import put_in_place
from .listing import HEADER, Listing, changed_ns, list_split, map_listing
from .lists import list_path
from .places import SAME_TIME
from .samples import is_listed, require_count

KEPT = 200_000  # images; fewer are listed in a fraction of a second, and kept in memory
VERSION = 1
PATIENCE = 1800  # seconds to wait for another process that lists


def open_listing(root: Path, manifest: Manifest, split: str) -> Listing:
    """Return the listing of a labelled split: the kept one if the data did not change, else a new one.

    Raises what ``list_samples`` raises.
    """
    is_listed(root, manifest, split)
    found = list_split(root, manifest, split) if manifest.splits[split].images < KEPT else _kept(root, manifest, split)
    require_count(len(found), root, manifest, split)
    return found


def _kept(root: Path, manifest: Manifest, split: str) -> Listing:
    name = sha256(f"{root.absolute()}\0{split}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    file = cache_folder() / "listings" / f"{name}.listing"
    identity = _identity(root, manifest, split)
    found = _fresh(root, file, identity)
    if found is not None:
        return found
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), timeout=PATIENCE):
            return _fresh(root, file, identity) or _make(root, manifest, split, file, identity)
    except (OSError, Timeout):
        return list_split(root, manifest, split)


def _fresh(root: Path, file: Path, identity: str) -> Listing | None:
    """Return a kept listing, or None if there is none or the data changed since."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = map_listing(root, file)
        folders = [changed_ns(os.path.join(root, name)) for name in found.folder_names()]  # noqa: PTH118
        if found.identity == identity and folders == found.changed.tolist():
            return found
    return None


def _make(root: Path, manifest: Manifest, split: str, file: Path, identity: str) -> Listing:
    began = time.time_ns()
    found = list_split(root, manifest, split)
    if len(found) != manifest.splits[split].images or found.changed.max(initial=0) > began - SAME_TIME:
        return found
    _remove_orphans(file.parent)
    partial = file.with_suffix(".partial")
    try:
        with partial.open("wb") as opened:
            found.write(opened, identity)
            opened.flush()
            os.fsync(opened.fileno())
        put_in_place(partial, file)
        file.with_suffix(".root").write_text(str(root.absolute()), "utf-8", "surrogatepass")
        return map_listing(root, file)
    except OSError:  # a full disk: the listing in memory serves as well
        partial.unlink(missing_ok=True)
        return found


def _identity(root: Path, manifest: Manifest, split: str) -> str:
    """Return what must be the same for a kept listing to be used, besides the times of the folders."""
    facts = [VERSION, HEADER, str(root.absolute()), split, to_json(manifest)]
    if is_listed(root, manifest, split):
        with suppress(OSError):  # the listing raises it
            status = list_path(root, split).stat()
            facts += [status.st_size, status.st_mtime_ns, status.st_ino]
    return sha256(json.dumps(facts).encode("utf-8")).hexdigest()


def _remove_orphans(folder: Path) -> None:
    """Remove the listings of roots that are gone; a root that was only unmounted is listed again."""
    for note in folder.glob("*.root"):
        with suppress(OSError, ValueError):
            if not (Path(note.read_text("utf-8", "surrogatepass")) / MANIFEST).is_file():
                for suffix in (".listing", ".lock", ".root"):
                    note.with_suffix(suffix).unlink(missing_ok=True)
