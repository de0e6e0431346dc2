"""A small disk that can fill and become read-only: a tmpfs, which only root can mount.

``python -m feedline.benchmarks.faults`` enters a mount namespace of its own first, so that no mount outlives it.
"""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

LARGE = 2**30
"""Bytes of a disk that is not full."""
PATIENCE_SECONDS = 2.0

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


class Disk:
    """A tmpfs at ``folder``."""

    def __init__(self, folder: Path, size: int = LARGE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        _run("mount", "-t", "tmpfs", "-o", f"size={size // 1024}k,mode=755", "tmpfs", str(folder))

    def resize(self, size: int) -> None:
        """Change the size in bytes; it cannot become smaller than what lies there."""
        _run("mount", "-o", f"remount,size={size // 1024}k", str(self.folder))

    def set_writable(self, writable: bool) -> bool:
        """Make the disk read-only or writable; return False if a file stays open for writing, which prevents it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(subprocess.CalledProcessError):
                _run("mount", "-o", f"remount,{'rw' if writable else 'ro'}", str(self.folder))
                return True
            time.sleep(0.01)
        return False

    def close(self) -> None:
        """Unmount the disk, with everything on it."""
        _run("umount", "--lazy", str(self.folder))


def private_shared_memory() -> None:
    """Give this namespace a /dev/shm of its own, so that what is left there was left by the disturbed command."""
    if can_mount():
        _run("mount", "-t", "tmpfs", "-o", f"size={LARGE // 1024}k,mode=1777", "tmpfs", "/dev/shm")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
