"""The sockets of worker processes, which need a folder with a short path.

Workers pass tensors to each other through Unix sockets in a folder below the one for temporary files (TMPDIR). The path
of a socket has 107 bytes at most on Linux, and 103 on macOS. With a longer one, a thread of the worker fails, and the
process that waits for its batch waits for ever. Batch systems often set a long TMPDIR.
"""

import os
import sys
import tempfile
from multiprocessing import util

LONGEST = 103 if sys.platform == "darwin" else 107
NAME = len("/listener-") + 8 + 6  # what multiprocessing appends to the folder, and a margin
SHORT = ("/tmp", "/var/tmp", "/dev/shm")


def folder_is_too_long(place: str) -> bool:
    """Return whether sockets in a new folder of ``place`` would have too long a path."""
    return sys.platform != "win32" and len(os.fsencode(place)) + len("/pymp-") + 8 + NAME > LONGEST


def prepare_sockets() -> str | None:
    """Have multiprocessing make its sockets in a folder with a short path, if that of TMPDIR is too long.

    Returns the sentence on what to do if no folder serves, else None. Worker processes inherit the folder.
    """
    if sys.platform == "win32" or not folder_is_too_long(tempfile.gettempdir()):
        return None
    before = tempfile.tempdir
    for place in (place for place in SHORT if os.path.isdir(place) and os.access(place, os.W_OK)):  # noqa: PTH112
        tempfile.tempdir = place
        try:
            made = util.get_temp_dir()  # the first call makes the folder, which multiprocessing removes at exit
        except OSError:
            continue
        finally:
            tempfile.tempdir = before
        return None if len(os.fsencode(made)) + NAME <= LONGEST else too_long_folder()
    return too_long_folder()


def too_long_folder() -> str:
    """Return what to do about a folder for temporary files with too long a path."""
    place = tempfile.gettempdir()
    return (
        f"the folder for temporary files has a path of {len(os.fsencode(place))} bytes ({place}), and a socket in it "
        f"can have {LONGEST}; set a shorter one with: export TMPDIR=/tmp"
    )
