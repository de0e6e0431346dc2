"""The settings of a training run: frozen, checked on creation, and saved in the run directory as they were used.

The recipe is the common one for ResNets on ImageNet (Goyal et al., Accurate, Large Minibatch SGD, 2017). It uses SGD
with Nesterov momentum 0.9, weight decay 1e-4 and a learning rate of 0.1 per 256 images of a batch. The rate warms up
linearly over the first twentieth of the run (5 of 90 epochs in the paper), then follows a cosine to zero (Loshchilov
and Hutter, 2017). AdamW takes its rate and decay from DeiT (Touvron et al., 2021): 5e-4 per 512 images, and 0.05.
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from ..loaders import Decode, OnError, PixelOrder
from ..loaders.store.roots import Root, given_root
from ..prep import TrainingError

OptimiserName = Literal["sgd", "adamw"]
ScheduleName = Literal["cosine", "step", "constant"]
Precision = Literal["none", "bf16", "fp16"]
Stem = Literal["auto", "imagenet", "small"]

LR_PER_256: dict[OptimiserName, float] = {"sgd": 0.1, "adamw": 2.5e-4}
WEIGHT_DECAY: dict[OptimiserName, float] = {"sgd": 1e-4, "adamw": 0.05}

AUTO = "auto"
"""The value of ``TrainConfig.loader`` that leaves the choice of a loader and its workers to feedline."""

# The size of Tiny-ImageNet's images. ImageNet's stem reduces 64x64 pixels to 16x16, and the last block gets 2x2, which
# is too small to classify from.
SMALL_STEM_UP_TO = 64
SMALL_STEM_MODELS = ("resnet18", "resnet34", "resnet50", "resnet101")


def default_device() -> str:
    """Return ``cuda`` if a CUDA device is usable, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(device: str) -> None:
    """Raise TrainingError unless torch can compute on ``device``."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was compiled without CUDA
        raise TrainingError(f"device {device!r} is not available here; use --device cpu") from error


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What to train, on which data, and how. Raises TrainingError for a value out of range."""

    root: Root
    """A dataset root, as ``LoaderSpec.root``."""
    out: Path
    """The run directory: new or empty, or the run that ``resume`` belongs to."""
    loader: str = AUTO
    """A name from the table of loaders, or ``auto``: the fastest loader that can read ``root``."""
    model: str = "resnet18"
    """A name of torchvision's classification models, or one of timm's as ``timm:NAME``."""
    init: Path | None = None
    """A file of weights to begin from: a checkpoint, or a state dict of this model. A head of other classes stays
    fresh."""
    stem: Stem = "auto"
    """``imagenet``: 7x7 with stride 2, then max-pool. ``small``: 3x3 with stride 1 and no max-pool, which gives
    16 times the positions and costs about 15 times the compute. ``auto``: small up to an image size of 64, imagenet
    above. Other models than resnet18, 34, 50 and 101 have the imagenet stem only."""
    epochs: int = 10
    batch_size: int = 64
    """Images per step of each rank."""
    image_size: int = 224
    """Height and width of the model's input images, in pixels."""
    decode: Decode = "cpu"
    """As ``LoaderSpec.decode``."""
    dct_scaling: bool = False
    """As ``LoaderSpec.dct_scaling``, for train images; evaluation uses the pixels of the reference."""
    pixels: PixelOrder = "exact"
    """As ``LoaderSpec.pixels``, for train images."""
    on_error: OnError = "raise"
    """As ``LoaderSpec.on_error``: what an image that cannot be decoded does to the run."""
    optimiser: OptimiserName = "sgd"
    lr: float | None = None
    """Learning rate after the warm-up; None means 0.1 (SGD) or 2.5e-4 (AdamW) per 256 images of all ranks' batch."""
    schedule: ScheduleName = "cosine"
    """The rate after the warm-up. ``cosine`` falls to zero, ``step`` falls to a tenth after each third of the run, and
    ``constant`` does not change."""
    warmup: float = 0.05
    """Share of the run's steps over which the learning rate rises linearly."""
    momentum: float = 0.9
    """Momentum of SGD; AdamW ignores it."""
    weight_decay: float | None = None
    """None means 1e-4 (SGD) or 0.05 (AdamW). Norms and biases have none."""
    label_smoothing: float = 0.0
    clip: float | None = None
    """Largest norm of the gradient of all weights together; None means no limit."""
    accumulate: int = 1
    """Number of parts that a batch is cut into. They are computed one after the other, so that the activations need
    that much less memory."""
    ema: float | None = None
    """Decay per step of an exponential moving average of the weights, which is then evaluated; None: no average."""
    amp: Precision = "none"
    """Precision of convolutions and matrix products under autocast; weights stay in float32."""
    channels_last: bool = True
    compile: bool = False
    """Train through torch.compile."""
    tf32: bool = True
    """Let a GPU multiply float32 numbers with 10 bits of mantissa: faster, and no worse in published trainings."""
    cudnn_benchmark: bool = True
    """Let cuDNN try its algorithms in the first step and keep the fastest; another run may get other last digits."""
    workers: int | None = None
    """Workers of each rank's loader; None means one per usable CPU, or fewer if the loader cannot use so many."""
    seed: int = 0
    device: str = field(default_factory=default_device)
    save_epochs: int | None = None
    """Keep a checkpoint such as ``epoch-0001.pt`` every so many epochs."""
    save_steps: int | None = None
    """Write ``last.pt`` every so many steps in addition to after each epoch."""
    resume: Path | None = None
    """A checkpoint to continue from. Its settings must equal these, apart from paths, speed, what is saved, ``epochs``,
    ``batch_size`` and ``lr``. ``lr`` and ``weight_decay`` of None mean those of the checkpoint."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", given_root(self.root))  # the config is frozen, and this is its construction
        counts = ("epochs", "batch_size", "image_size", "accumulate", "save_epochs", "save_steps")
        for name, least in (*((name, 1) for name in counts), ("workers", 0)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise TrainingError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("lr", "clip"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < math.inf:
                raise TrainingError(f"{name} must be a positive number, got {getattr(self, name)}")
        for name in ("momentum", "weight_decay", "warmup", "label_smoothing", "ema"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 0 and less than 1, got {getattr(self, name)}")
        if self.accumulate > self.batch_size:
            raise TrainingError(f"accumulate must be at most the batch size {self.batch_size}, got {self.accumulate}")


def resolved(config: TrainConfig, ranks: int = 1) -> TrainConfig:
    """Return the settings with ``stem``, ``lr`` and ``weight_decay`` filled in, as the run records them."""
    lr, decay = config.lr, config.weight_decay
    return replace(
        config,
        stem=chosen_stem(config.stem, config.image_size, config.model),
        lr=LR_PER_256[config.optimiser] * config.batch_size * ranks / 256 if lr is None else lr,
        weight_decay=WEIGHT_DECAY[config.optimiser] if decay is None else decay,
    )


def chosen_stem(stem: Stem, image_size: int, model: str) -> Stem:
    """Return the stem that ``auto`` means for a model and an image size in pixels; return any other stem unchanged."""
    if stem != "auto":
        return stem
    return "small" if image_size <= SMALL_STEM_UP_TO and model in SMALL_STEM_MODELS else "imagenet"
