"""The kind of storage below a directory, which limits the rate of a cold run.

Linux reports it in sysfs. Every block device has ``queue/rotational``; a partition has it at its parent. A device that
is mapped onto others (LVM, dm-crypt, software RAID) lists them under ``slaves``. A virtual machine's disk reports what
its host is configured to report, so it is only called "virtual". See the kernel's Documentation/ABI/stable/sysfs-block.
"""

import os
import sys
from pathlib import Path
from typing import Literal

import psutil

Storage = Literal["nvme", "ssd", "hdd", "virtual", "network", "memory"]

NETWORK = {
    *("nfs", "nfs4", "cifs", "smb2", "smb3", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "afs", "9p"),
    *("fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone"),
}
MEMORY = {"tmpfs", "ramfs"}
SLOWEST_FIRST: tuple[Storage, ...] = ("hdd", "virtual", "ssd", "nvme")


def filesystem_of(path: Path) -> str | None:
    """Return the type of the file system that holds ``path``, such as ext4, ntfs or nfs4; None if unknown."""
    mount = _mount(path)
    return mount[1] if mount else None


def storage_of(path: Path, sysfs: Path = Path("/sys")) -> Storage | None:
    """Return the kind of device that holds ``path``; None if it cannot be determined, and outside Linux."""
    mount = _mount(path)
    if sys.platform != "linux" or mount is None:
        return None
    source, filesystem = mount
    if filesystem in NETWORK:
        return "network"
    if filesystem in MEMORY:
        return "memory"
    try:  # btrfs and ZFS give files a device number of their own, so the number of the mounted device is used
        number = Path(source).stat().st_rdev if source.startswith("/dev/") else path.stat().st_dev
    except OSError:
        return None
    return storage_of_device(sysfs / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}")


def storage_of_device(device: Path) -> Storage | None:
    """Return the kind of device that a sysfs folder describes; the slowest one if it is mapped onto several."""
    place = device.resolve()
    below = [storage_of_device(slave) for slave in place.glob("slaves/*")]
    if below:
        return next((kind for kind in SLOWEST_FIRST if kind in below), None)
    if place.name.startswith("nvme"):
        return "nvme"
    if place.name.startswith(("vd", "xvd")):
        return "virtual"
    for folder in (place, place.parent):
        try:
            return "hdd" if (folder / "queue" / "rotational").read_text().strip() == "1" else "ssd"
        except OSError:
            continue
    return None


def _mount(path: Path) -> tuple[str, str] | None:
    """Return (device, type) of the file system that holds ``path``."""
    place = path.resolve()
    try:
        mounts = [mount for mount in psutil.disk_partitions(all=True) if place.is_relative_to(mount.mountpoint)]
    except OSError:
        return None
    found = max(mounts, key=lambda mount: len(mount.mountpoint), default=None)
    return (found.device, found.fstype) if found else None
