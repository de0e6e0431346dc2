"""Storage and GPUs that one may have elsewhere: what they can do, and who says so.

Every constant is a published figure or an assumption that is called one. They are round numbers of a class, not of a
product: a what-if answers "would another disk help?", not "which of two NVMe drives?".
"""

import math
from dataclasses import dataclass

# 1448 bytes of payload in each 1538 bytes on the wire: IPv4, TCP with timestamps, an MTU of 1500, preamble and gap.
TCP = 1448 / 1538


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A class of storage as a client sees it: a link that all requests share, and what each request costs besides."""

    name: str
    bytes_per_second: float
    """Of the link, shared by all requests under way."""
    waiting_seconds: float
    """Of each request before its bytes move; requests wait side by side."""
    moving_seconds: float = 0.0
    """Of each random request, one after the other: the head of a disk can be in one place."""
    request_bytes: float = 128 * 1024
    """Most that one request brings: Linux reads ahead by 128 KiB unless told otherwise, an object is read at once."""
    request_bytes_per_second: float = math.inf
    """Most that one request gets of the link."""
    source: str


DISKS = (
    Disk(
        name="HDD",
        bytes_per_second=200e6,
        waiting_seconds=0.0,
        moving_seconds=0.0127,
        source="7200 rpm: half a turn is 4.17 ms; assumed: 8.5 ms average seek, 200 MB/s in sequence",
    ),
    Disk(
        name="SATA SSD",
        bytes_per_second=550e6,
        waiting_seconds=0.0001,
        source="SATA 3: 6 Gb/s in 8b/10b code are 600 MB/s, about 550 without framing; assumed: 0.1 ms a read",
    ),
    Disk(
        name="NVMe SSD",
        bytes_per_second=3500e6,
        waiting_seconds=0.0001,
        source="PCIe 3.0 x4: 3.94 GB/s in 128b/130b code, about 3.5 without framing; assumed: 0.1 ms a read",
    ),
    Disk(
        name="1 Gb network",
        bytes_per_second=1e9 / 8 * TCP,
        waiting_seconds=0.0005,
        source="IEEE 802.3: 94 % of the line is TCP payload; assumed: 0.5 ms a read from a server's SSD or memory",
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
        source="Amazon S3 User Guide, performance design patterns: first byte after 100 to 200 ms, 85 to 90 MB/s a "
        "request; assumed: 100 ms, a 10 Gb link",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """What one GPU trains, images/s of 224 pixels."""

    model: str
    images_per_second: float
    source: str


GPUS = {
    "h100": Gpu(
        model="resnet50",
        images_per_second=400 / 0.224,
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
"""By the names that ``--gpu`` takes. MLPerf's H100 is slower than NVIDIA's A100: another framework and recipe."""
