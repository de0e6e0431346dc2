"""The table of peers: the description of each, its requirements, and the kind of its workers.

A peer is another project's way of loading ImageNet for a trainer, written as that project documents it. The name of
its module is the peer's name with "_" for "-". The module is imported in the peer's own environment only, so this
table needs none of the libraries. Pins are exact, because each figure must name the version that it was measured with.

Some peers store decoded pixels, which suits small images only. A tensor in memory is among them: no project's loader,
but what a user of small images would write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Peer:
    """The facts about a peer that do not need its library."""

    summary: str
    reads: str
    """The form in which it reads the images; the bytes are always those of the class folders."""
    requirements: tuple[str, ...]
    """The pinned requirements for pip; empty if the running environment has the library."""
    workers: Literal["processes", "threads"]
    """The meaning of its number of workers."""
    least_workers: int = 0
    """1 if the library cannot load in the caller's own thread."""
    debian: tuple[str, ...] = ()
    """Packages of Debian and Ubuntu that it needs and pip cannot install."""
    variant_of: str | None = None
    """The name of another peer whose environment and module this one uses, or None."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments for the functions of its module, by which a variant differs."""
    converts: bool = False
    """Whether it reads its own format, converted once from the class folders."""
    repeats: bool = False
    """Whether it fills the last batches of an epoch with repeated samples, so that a sample may come more than once."""
    stores_pixels: bool = False
    """Whether its format holds decoded pixels, so that it is measured on small images only."""


PEERS: dict[str, Peer] = {
    "torchvision": Peer(
        summary="ImageFolder, transforms v2 and torch's DataLoader",
        reads="class folders",
        requirements=("torchvision>=0.19",),
        workers="processes",
    ),
    "dali-reader": Peer(
        summary="NVIDIA DALI's file reader, decoders.image_random_crop and antialiased resize on the CPU",
        reads="class folders",
        requirements=("nvidia-dali-cuda130==2.4.0",),
        workers="threads",
        least_workers=1,
    ),
    "ffcv": Peer(
        summary="FFCV: compiled pipelines over one mapped file",
        reads=".beton",
        requirements=("ffcv==1.0.2", "opencv-python==5.0.0.93"),
        workers="threads",
        least_workers=1,
        debian=("g++", "pkg-config", "libopencv-dev", "libturbojpeg0-dev"),
        converts=True,
    ),
    "ffcv-raw": Peer(
        summary="ffcv with the decoded pixels in its file, its raw mode",
        reads=".beton of pixels",
        requirements=("ffcv==1.0.2", "opencv-python==5.0.0.93"),
        workers="threads",
        least_workers=1,
        debian=("g++", "pkg-config", "libopencv-dev", "libturbojpeg0-dev"),
        variant_of="ffcv",
        options={"mode": "raw"},
        converts=True,
        stores_pixels=True,
    ),
    "tfdata": Peer(
        summary="tf.data with decode_and_crop_jpeg and antialiased resize",
        reads="class folders",
        requirements=("tensorflow-cpu==2.21.0",),
        workers="threads",
        least_workers=1,
    ),
    "tfdata-aliased": Peer(
        summary="tfdata without antialiasing, which reads fewer pixels and yields other ones",
        reads="class folders",
        requirements=("tensorflow-cpu==2.21.0",),
        workers="threads",
        least_workers=1,
        variant_of="tfdata",
        options={"antialias": False},
    ),
    "spdl": Peer(
        summary="SPDL: threads over FFmpeg's decoder and scaler",
        reads="class folders",
        requirements=("spdl-core==0.8.0", "spdl-io==0.8.0"),
        workers="threads",
        least_workers=1,
        debian=("ffmpeg",),
    ),
    "litdata": Peer(
        summary="LitData: StreamingDataset and StreamingDataLoader over local chunks",
        reads="LitData chunks",
        requirements=("litdata==0.2.76",),
        workers="processes",
        converts=True,
    ),
    "mosaic": Peer(
        summary="MosaicML Streaming: StreamingDataset over local MDS shards, torch's DataLoader",
        reads="MDS shards",
        requirements=("mosaicml-streaming==0.13.0",),
        workers="processes",
        converts=True,
    ),
    "hf-datasets": Peer(
        summary="Hugging Face datasets: a mapped Arrow table, set_transform, torch's DataLoader",
        reads="Arrow",
        requirements=("datasets==5.2.0",),
        workers="processes",
        converts=True,
    ),
    "grain": Peer(
        summary="Grain: MapDataset over ArrayRecord",
        reads="ArrayRecord",
        requirements=("grain==0.2.18", "array-record==0.8.6"),
        workers="processes",
        converts=True,
    ),
    "torchdata": Peer(
        summary="torchdata nodes: sampler, batcher, parallel mapper, prefetcher",
        reads="class folders",
        requirements=("torchdata==0.11.0",),
        workers="processes",
    ),
    "timm": Peer(
        summary="timm's WebDataset reader, transforms and loader",
        reads="WebDataset shards",
        requirements=("timm==1.0.31", "webdataset==1.0.2"),
        workers="processes",
        converts=True,
        repeats=True,
    ),
    "tensor": Peer(
        summary="a uint8 tensor of all images in memory; threads crop and resize image by image with torch",
        reads="one array of pixels",
        requirements=("torchvision>=0.19",),
        workers="threads",
        least_workers=1,
        converts=True,
        stores_pixels=True,
    ),
    "tensor-batched": Peer(
        summary="tensor with one grid_sample for the crops and flips of a batch",
        reads="one array of pixels",
        requirements=("torchvision>=0.19",),
        workers="threads",
        least_workers=1,
        variant_of="tensor",
        options={"batched": True},
        converts=True,
        stores_pixels=True,
    ),
}
