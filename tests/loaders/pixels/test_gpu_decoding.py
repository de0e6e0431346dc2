"""Decoding on the GPU: what goes there, what does not, and what comes of it; a decoder on the CPU stands in for nvJPEG.

The contract and the pixels are tested with all loaders'.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from feedline.loaders import LOADERS, Batch, LoaderSpec, open_loader
from feedline.loaders.pixels.crops import draw_crops
from feedline.loaders.pixels.gpu_decoding import cut_for_gpu, decode_cuts, nvjpeg
from feedline.loaders.support.encoded import EncodedImage
from feedline.loaders.support.samples import open_samples
from feedline.loaders.support.transfer import Transfer
from feedline.loaders.threaded import ThreadedLoader
from feedline.prep import LoaderError, LoaderUnavailable, SampleError

from ..contract import decode_on_the_cpu

CHINA = Image.fromarray(load_sample_image("china.jpg"))
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def spec_of(root: Path = Path("nowhere"), **changes: object) -> LoaderSpec:
    return LoaderSpec(**{"root": root, "batch_size": 10, "image_size": 32, "seed": 5, "decode": "gpu", **changes})  # type: ignore[arg-type]


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> EncodedImage:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return EncodedImage(np.frombuffer(buffer.getvalue(), np.uint8), None)


def batches_of(spec: LoaderSpec, decoder: object = decode_on_the_cpu) -> Iterator[Batch]:
    with closing(ThreadedLoader(spec, decoder=decoder)) as loader:  # type: ignore[arg-type]
        yield from loader


DRAWS = draw_crops(np.arange(1), seed=0, epoch=0)[0].tolist()


def test_plain_photographs_go_to_the_gpu_and_nothing_else_does() -> None:
    """Greyscale, CMYK, PNG and rubbish stay with the CPU, which knows them or says what is wrong."""
    others = [
        encoded(CHINA.convert("L")),
        encoded(CHINA.convert("CMYK")),
        encoded(CHINA, "PNG"),
        EncodedImage(np.arange(200, dtype=np.uint8), None),
    ]

    assert cut_for_gpu(encoded(CHINA), DRAWS, spec_of()) is not None
    assert cut_for_gpu(encoded(CHINA, progressive=True), DRAWS, spec_of()) is not None
    assert [cut_for_gpu(image, DRAWS, spec_of()) for image in others] == [None] * 4


def test_the_decoder_gets_no_exif() -> None:
    """torchcodec would rotate the image, and the crop would be of another place."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = encoded(CHINA, exif=exif)
    cut = cut_for_gpu(image, DRAWS, spec_of())
    assert cut is not None
    seen: list[bytes] = []

    def decoder(jpegs: list[torch.Tensor]) -> list[torch.Tensor]:
        seen.extend(jpeg.numpy().tobytes() for jpeg in jpegs)
        return decode_on_the_cpu(jpegs)

    decode_cuts([cut], 32, decoder)
    assert Image.open(BytesIO(image.data.tobytes())).getexif()[0x0112] == 6
    assert not Image.open(BytesIO(seen[0])).getexif()
    assert len(seen[0]) == len(image.data)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_decoder_refuses_comes_from_the_cpu(workers: int, root: Path) -> None:
    """A refused batch is decoded one by one, and the refused images on the CPU: no sample is lost or moved."""

    def picky(jpegs: list[torch.Tensor]) -> list[torch.Tensor]:
        if any(len(jpeg) % 3 == 0 for jpeg in jpegs):
            raise RuntimeError("not these")
        return decode_on_the_cpu(jpegs)

    for expected, actual in zip(
        batches_of(spec_of(root)), batches_of(spec_of(root, workers=workers), picky), strict=True
    ):
        assert actual.indexes.tolist() == expected.indexes.tolist()
        assert (actual.images.int() - expected.images.int()).abs().max() <= 1


def test_a_decoder_that_refuses_everything_is_not_silent(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Then the CPU does all the work, at its speed; the log says so once, with the decoder's reason."""

    def broken(jpegs: list[torch.Tensor]) -> list[torch.Tensor]:
        raise RuntimeError("no such device")

    with caplog.at_level(logging.WARNING, "feedline.loaders"):
        actual = list(batches_of(spec_of(root), broken))
    expected = list(batches_of(spec_of(root, decode="cpu")))

    assert all(torch.equal(a.images, b.images) for a, b in zip(actual, expected, strict=True))
    assert [record.getMessage() for record in caplog.records] == [
        "the GPU decoded no image of a batch; the CPU decodes them instead: no such device"
    ]


def test_an_image_that_nobody_can_decode_is_named(root: Path) -> None:
    """With a header that promises a photograph, and no photograph behind it."""

    class Broken:
        """Samples of which one is damaged behind its header."""

        def __init__(self, spec: LoaderSpec) -> None:
            self._samples = open_samples(spec.root, spec.split)
            self.labels, self.labels_of, self.name = self._samples.labels, self._samples.labels_of, self._samples.name
            self.windows, self.in_window = self._samples.windows, self._samples.in_window
            self.close = self._samples.close

        def __len__(self) -> int:
            return len(self.labels)

        def read(self, index: int) -> EncodedImage:
            data = encoded(CHINA).data if index == 7 else self._samples.read(index).data
            return EncodedImage(data[: len(data) // 2] if index == 7 else data, None)

    spec = spec_of(root, workers=2)
    with (
        closing(ThreadedLoader(spec, samples=Broken(spec), decoder=decode_on_the_cpu)) as loader,
        pytest.raises(SampleError, match=r"cannot decode n\d+_\d+ in .*feedline verify"),
    ):
        list(loader)
    skipping = replace(spec, on_error="skip")
    with closing(ThreadedLoader(skipping, samples=Broken(spec), decoder=decode_on_the_cpu)) as loader:
        assert sorted(index for batch in loader for index in batch.indexes.tolist()) == [
            index for index in range(84) if index != 7
        ]
        assert list(loader.skipped) == [7]


@pytest.mark.parametrize("name", [name for name, entry in LOADERS.items() if "decode 'gpu'" not in entry.abilities])
def test_loaders_that_cannot_decode_on_the_gpu_so_refuse(name: str, root: Path) -> None:
    """The message names the one that can."""
    with pytest.raises(LoaderError, match=f"{name} cannot do decode 'gpu'; choose one of: threaded"):
        open_loader(name, spec_of(root))


def test_the_gpu_needs_a_gpu(root: Path) -> None:
    """Asked for on the CPU, it is refused with the option that helps."""
    with pytest.raises(LoaderError, match="decode 'gpu' needs a CUDA device, got device 'cpu'; use --device cuda"):
        open_loader("threaded", spec_of(root))


def test_without_torchcodec_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else needs it."""
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(LoaderUnavailable, match=r"needs torchcodec; install it with: pip install 'feedline\[gpu\]'"):
        nvjpeg("cuda")


def test_on_the_cpu_nothing_travels() -> None:
    """A batch is the very memory that was filled."""
    images, labels = torch.zeros((2, 4, 4, 3), dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    batch = Transfer("cpu").to_batch(images, labels, labels)

    assert batch.images.data_ptr() == images.data_ptr()
    assert batch.labels is labels


@pytest.mark.gpu
@NEEDS_CUDA
def test_nvjpeg_decodes_the_cuts(root: Path) -> None:
    """Its pixels are libjpeg-turbo's within 2 grey levels on average: it rounds and interpolates in its own way."""
    pytest.importorskip("torchcodec", reason="decode 'gpu' needs torchcodec")
    cpu, gpu = spec_of(root, decode="cpu"), spec_of(root, device="cuda", workers=2)
    with closing(open_loader("threaded", gpu)) as of_gpu, closing(open_loader("threaded", cpu)) as of_cpu:
        for actual, expected in zip(of_gpu, of_cpu, strict=True):
            assert actual.images.device.type == "cuda"
            assert (actual.images.cpu().int() - expected.images.int()).abs().float().mean() <= 2


@pytest.mark.gpu
@NEEDS_CUDA
def test_batches_travel_beside_the_work_and_arrive_whole(root: Path) -> None:
    """Each batch is used while the next ones travel, for 20 epochs; no pinned memory is asked for after the second."""
    cpu, cuda = spec_of(root, decode="cpu"), spec_of(root, decode="cpu", device="cuda", workers=2)
    pinned: list[int] = []
    with closing(open_loader("threaded", cuda)) as of_cuda, closing(open_loader("threaded", cpu)) as of_cpu:
        for _ in range(20):
            for actual, expected in zip(of_cuda, of_cpu, strict=True):
                busy = torch.ones((2048, 2048), device="cuda")
                for _ in range(20):  # what the trainer launches and does not wait for
                    busy = busy @ busy / 2048
                assert torch.equal(actual.images.cpu(), expected.images)
            pinned.append(torch.cuda.host_memory_stats()["allocated_bytes.current"])
    assert max(pinned[2:]) <= pinned[1]
