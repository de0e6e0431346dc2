"""Small disks that can fill and become read-only: tmpfs, which only root can mount.

``python -m feedline.benchmarks.faults`` enters a mount namespace of its own first, so that no mount outlives it.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

LARGE = 2**30
"""Bytes of a disk that is not full."""
PATIENCE_SECONDS = 2.0
SHM = Path("/dev/shm")

_ENTERED = "FEEDLINE_FAULTS_NAMESPACE"


def can_mount() -> bool:
    """Return whether this process may mount, in a namespace that others do not see."""
    return os.environ.get(_ENTERED) == "1"


def enter_namespace(module: str, arguments: list[str]) -> None:
    """Replace this process by the same program in a private mount namespace, if root can make one."""
    command = ["unshare", "--mount", "--propagation", "private"]
    if sys.platform != "linux" or can_mount() or os.geteuid() != 0 or shutil.which("unshare") is None:
        return
    if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
        os.environ[_ENTERED] = "1"
        os.execvp("unshare", [*command, sys.executable, "-m", module, *arguments])


@contextmanager
def mounted(folder: Path) -> Generator[Path, None, None]:
    """Mount a disk that is not full at ``folder``; unmount it after the block, with everything on it."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={LARGE // 1024}k,mode=755", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def resize(disk: Path, size: int) -> None:
    """Change the size in bytes; it cannot become smaller than what lies there."""
    _run("mount", "-o", f"remount,size={size // 1024}k", str(disk))


def leave(disk: Path, room: int, least: int) -> bool:
    """Leave ``room`` bytes, or a disk of ``least``; return False if it keeps filling in between, which prevents it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(subprocess.CalledProcessError):
            resize(disk, max(least, used_bytes(disk) + room))
            return True
    return False


def used_bytes(disk: Path) -> int:
    """Return the bytes of everything that lies there, open files without a name included."""
    return shutil.disk_usage(disk).used


def set_writable(disk: Path, writable: bool) -> bool:
    """Make the disk read-only or writable; return False if a file stays open for writing, which prevents it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(subprocess.CalledProcessError):
            _run("mount", "-o", f"remount,{'rw' if writable else 'ro'}", str(disk))
            return True
        time.sleep(0.01)
    return False


def private_shared_memory() -> None:
    """Give this namespace a /dev/shm of its own, so that what is left there was left by the disturbed command."""
    if can_mount():
        _run("mount", "-t", "tmpfs", "-o", f"size={LARGE // 1024}k,mode=1777", "tmpfs", str(SHM))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
