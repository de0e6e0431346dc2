"""The speed of common storage and GPUs, with the source of each number.

Every constant is a published figure, or an assumption that is marked as one. They are round numbers for a class and
not for a product: a what-if answers "would another disk help?", not "which of two NVMe drives?".
"""

import math
from dataclasses import dataclass

from ..utilisation.accelerators import H100

# 1448 bytes of payload in 1538 bytes on the wire: IPv4, TCP with timestamps, an MTU of 1500, preamble and gap.
TCP = 1448 / 1538


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A class of storage, as its client sees it: a link that all requests share, and the cost of each request."""

    name: str
    bytes_per_second: float
    """Bandwidth of the link, which all current requests share."""
    waiting_seconds: float
    """Wait of each request before its bytes move; requests wait at the same time."""
    moving_seconds: float = 0.0
    """Time of each random request in which no other can move, because a disk has one head."""
    request_bytes: float = 128 * 1024
    """Most bytes of one request. Linux reads ahead by 128 KiB by default; an object is read in one request."""
    request_bytes_per_second: float = math.inf
    """Most of the link's bandwidth that one request gets."""
    source: str
    """Where the numbers come from, and which are assumed."""


DISKS = (
    Disk(
        name="HDD",
        bytes_per_second=200e6,
        waiting_seconds=0.0,
        moving_seconds=0.0127,
        source="7200 rpm: half a turn takes 4.17 ms; assumed: 8.5 ms average seek, 200 MB/s in sequence",
    ),
    Disk(
        name="SATA SSD",
        bytes_per_second=550e6,
        waiting_seconds=0.0001,
        source="SATA 3: 6 Gb/s in 8b/10b code is 600 MB/s, about 550 without framing; assumed: 0.1 ms per read",
    ),
    Disk(
        name="NVMe SSD",
        bytes_per_second=3500e6,
        waiting_seconds=0.0001,
        source="PCIe 3.0 x4: 3.94 GB/s in 128b/130b code, about 3.5 without framing; assumed: 0.1 ms per read",
    ),
    Disk(
        name="1 Gb network",
        bytes_per_second=1e9 / 8 * TCP,
        waiting_seconds=0.0005,
        source="IEEE 802.3: 94 % of the line is TCP payload; assumed: 0.5 ms per read from a server's SSD or memory",
    ),
    Disk(
        name="10 Gb network",
        bytes_per_second=10e9 / 8 * TCP,
        waiting_seconds=0.0005,
        source="as 1 Gb network",
    ),
    Disk(
        name="25 Gb network",
        bytes_per_second=25e9 / 8 * TCP,
        waiting_seconds=0.0005,
        source="as 1 Gb network",
    ),
    Disk(
        name="object store",
        bytes_per_second=10e9 / 8 * TCP,
        waiting_seconds=0.1,
        request_bytes=math.inf,
        request_bytes_per_second=87.5e6,
        source="Amazon S3 User Guide, performance design patterns: first byte after 100 to 200 ms, 85 to 90 MB/s "
        "per request; assumed: 100 ms, a 10 Gb link",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The training rate of a model on one GPU, in images/s of 224 pixels."""

    model: str
    images_per_second: float
    source: str


GPUS = {
    "h100": Gpu(
        model="resnet50",
        images_per_second=H100.images_per_second,
        source="MLPerf Storage, workload resnet50_h100: 0.224 s for a batch of 400",
    ),
    "a100": Gpu(
        model="resnet50",
        images_per_second=2470,
        source="NVIDIA DeepLearningExamples, PyTorch ResNet-50 v1.5, one A100 80 GB, mixed precision",
    ),
    "a100-tf32": Gpu(
        model="resnet50",
        images_per_second=938,
        source="NVIDIA DeepLearningExamples, PyTorch ResNet-50 v1.5, one A100 80 GB, TF32",
    ),
    "v100": Gpu(
        model="resnet50",
        images_per_second=1200,
        source="NVIDIA DeepLearningExamples, PyTorch ResNet-50 v1.5, one V100 16 GB, mixed precision",
    ),
}
"""By the names that ``--gpu`` accepts. MLPerf's H100 is slower than NVIDIA's A100: framework and recipe differ."""
