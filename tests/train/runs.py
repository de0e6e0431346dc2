"""What the tests of whole runs share: small settings, small data, and a run's files read back."""

import json
import subprocess
import time
from pathlib import Path

import torch

from feedline.prep import SyntheticSpec, prepare_tiny_imagenet, write_synthetic
from feedline.train import TrainConfig

CLASSES, PER_CLASS = 6, 8

SMALL = {
    "loader": "imagefolder",
    "workers": 0,
    "epochs": 2,
    "batch_size": 16,
    "image_size": 32,
    "stem": "imagenet",
    "device": "cpu",
}


def make_root(where: Path, classes: int, per_class: int) -> Path:
    spec = SyntheticSpec(layout="tiny-imagenet", classes=classes, images_per_class=per_class)
    (archive,) = write_synthetic(where / "archives", spec)
    prepare_tiny_imagenet(archive, where / "data")
    return where / "data"


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until a file is there. The process must not end before."""
    deadline = time.monotonic() + 120
    while not path.is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def last(config: TrainConfig) -> Path:
    return config.out / "checkpoints" / "last.pt"


def weights(config: TrainConfig) -> dict[str, torch.Tensor]:
    return torch.load(last(config), weights_only=True)["model"]


def records(config: TrainConfig) -> list[dict]:
    """Return metrics.jsonl without what the clock decides."""
    lines = (config.out / "metrics.jsonl").read_text().splitlines()
    timed = {"seconds", "data_wait", "images_per_second"}
    return [{key: value for key, value in json.loads(line).items() if key not in timed} for line in lines]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
