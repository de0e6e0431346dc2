"""The table of peers: what each is, what it needs, and what its "workers" are.

A peer is another project's way of feeding ImageNet to a trainer, written as that project documents it. Its module
bears its name here, with "_" for "-", and is imported in the peer's own environment only: here nobody's library is
needed to know that it is missing. Pins are exact: a figure without a version is a rumour.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Peer:
    """What is known of a peer before its library is imported."""

    summary: str
    reads: str
    """The form in which it reads the images; always the very bytes of the class folders."""
    requirements: tuple[str, ...]
    """What pip installs, pinned; empty: the running environment has it."""
    workers: Literal["processes", "threads"]
    """What its number of workers counts."""
    least_workers: int = 0
    """1 where nothing can happen in the caller's own thread."""
    debian: tuple[str, ...] = ()
    """Packages of Debian and Ubuntu that pip cannot bring."""
    environment: str | None = None
    """Where another peer's environment serves this one too, its name."""
    converts: bool = False
    """Reads a format of its own, made once from the class folders."""
    repeats: bool = False
    """Fills an epoch's last batches with samples seen before, so that not each can be counted once."""


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
    "tfdata": Peer(
        summary="tf.data with decode_and_crop_jpeg and antialiased resize",
        reads="class folders",
        requirements=("tensorflow-cpu==2.21.0",),
        workers="threads",
        least_workers=1,
    ),
    "tfdata-aliased": Peer(
        summary="the same without antialiasing: fewer pixels are read, others come out",
        reads="class folders",
        requirements=("tensorflow-cpu==2.21.0",),
        workers="threads",
        least_workers=1,
        environment="tfdata",
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
}
