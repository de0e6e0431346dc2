"""The environment: storage from sysfs, libraries with the versions in use, unknown facts as None."""

import shutil
import tempfile
from pathlib import Path

import PIL
import pytest

from feedline.benchmarks import capture, storage_of
from feedline.benchmarks.machine.storage import filesystem_of, storage_of_device
from feedline.benchmarks.measuring.dataset import describe


def disk(sysfs: Path, name: str, rotational: str | None) -> Path:
    """Make the folder of a block device as in sysfs."""
    folder = sysfs / "devices" / name
    (folder / "queue").mkdir(parents=True)
    if rotational is not None:
        (folder / "queue" / "rotational").write_text(f"{rotational}\n")
    return folder


@pytest.mark.parametrize(
    ("name", "rotational", "kind"),
    [
        ("sda", "1", "hdd"),
        ("sda", "0", "ssd"),
        ("nvme0n1", "0", "nvme"),
        ("vda", "1", "virtual"),
        ("xvda", "0", "virtual"),
        ("sda", None, None),
    ],
)
def test_the_kind_of_a_device_follows_from_its_name_and_rotation(
    tmp_path: Path, name: str, rotational: str | None, kind: str | None
) -> None:
    """The rotation of a virtual disk is ignored, because its host sets it."""
    assert storage_of_device(disk(tmp_path, name, rotational)) == kind


def test_a_partition_has_the_kind_of_its_disk(tmp_path: Path) -> None:
    """Partitions have no queue of their own; the name already shows NVMe."""
    for name, rotational, kind in (("sda", "1", "hdd"), ("nvme0n1", "0", "nvme")):
        partition = disk(tmp_path, name, rotational) / f"{name}p1"
        partition.mkdir()

        assert storage_of_device(partition) == kind


def test_a_mapped_device_is_as_slow_as_the_slowest_below_it(tmp_path: Path) -> None:
    """For LVM over an SSD and a hard disk, the links of sysfs are followed."""
    mapped = disk(tmp_path, "dm-0", "0")
    (mapped / "slaves").mkdir()
    for name, rotational in (("sda", "0"), ("sdb", "1")):
        try:
            (mapped / "slaves" / name).symlink_to(disk(tmp_path, name, rotational), target_is_directory=True)
        except OSError:
            pytest.skip("needs the right to make symbolic links")

    assert storage_of_device(mapped) == "hdd"


def test_a_missing_device_is_unknown(tmp_path: Path) -> None:
    """Containers hide sysfs."""
    assert storage_of_device(tmp_path / "dev" / "block" / "8:0") is None
    if filesystem_of(tmp_path) in ("ext4", "xfs", "btrfs", "overlay"):
        assert storage_of(tmp_path, sysfs=tmp_path) is None


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs /dev/shm")
def test_shared_memory_is_memory() -> None:
    """Shared memory has no device."""
    assert (storage_of(Path("/dev/shm")), filesystem_of(Path("/dev/shm"))) == ("memory", "tmpfs")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs /dev/shm")
def test_a_record_stores_the_storage_of_the_data(root: Path) -> None:
    """The kind of device belongs to the data and not to the machine, which has several devices."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        data = describe(Path(shutil.copytree(root, Path(memory) / "data")), "train")

    assert (data.filesystem, data.storage) == ("tmpfs", "memory")


def test_the_libraries_that_decode_are_named_with_the_versions_in_use() -> None:
    """The libraries include one Pillow, the one that is imported, and its libjpeg-turbo."""
    libraries = capture().libraries
    pillow = [version for name, version in libraries.items() if name in ("pillow", "pillow-simd")]

    assert pillow == [PIL.__version__]
    assert {"torch", "torchvision", "webdataset", "numba", "simplejpeg"} <= libraries.keys()
    assert libraries["libjpeg-turbo (Pillow's)"][0].isdigit()
