"""The settings of a training run: frozen, checked on creation, and saved in the run directory as they were used.

The recipe is the common one for ResNets on ImageNet (Goyal et al., Accurate, Large Minibatch SGD, 2017). It uses SGD
with Nesterov momentum 0.9, weight decay 1e-4 and a learning rate of 0.1 per 256 images of a batch. The rate warms up
linearly over the first twentieth of the run (5 of 90 epochs in the paper), then follows a cosine to zero (Loshchilov
and Hutter, 2017). AdamW takes its rate and decay from DeiT (Touvron et al., 2021): 5e-4 per 512 images, and 0.05. LAMB
takes them from ResNet strikes back (Wightman et al., 2021), procedure A2: 5e-3 per 2048 images, and 0.02.

Everything else that published recipes add is off by default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..loaders import Decode, Interpolation, OnError, PixelOrder
from ..loaders.fields import root_path_of
from ..loaders.store.roots import Root
from ..loaders.transform_fields import FLIP, RATIO, SCALE
from ..prep import LoaderError, TrainingError
from ..prep.base.typed import set_types
from .settings.checks import check_names, check_together, check_values
from .settings.names import LossName, MixMode, OptimiserName, Precision, RatePer, ScheduleName, Stem

LR_PER_256: dict[OptimiserName, float] = {"sgd": 0.1, "adamw": 2.5e-4, "lamb": 6.25e-4}
WEIGHT_DECAY: dict[OptimiserName, float] = {"sgd": 1e-4, "adamw": 0.05, "lamb": 0.02}

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
    """Raise TrainingError unless torch can compute on ``device``, and the results come back."""
    try:
        torch.empty(0, device=device).cpu()  # not from ``meta``, whose tensors have no contents
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was compiled without CUDA
        raise TrainingError(f"device {device!r} is not available here; use --device cpu") from error


@dataclass(frozen=True, kw_only=True)
class RecipeUse:
    """The recipe that a run's settings came from."""

    name: str
    """The name of a recipe of feedline, or the path of the user's file."""
    sha256: str
    """Of the recipe's file."""
    replaced: tuple[str, ...] = ()
    """Settings of the recipe that the run replaced by others."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What to train, on which data, and how. Raises TrainingError for a value of another type or out of range.

    Paths may be text, and numbers those of numpy.
    """

    root: Root
    """A dataset root, as ``LoaderSpec.root``."""
    out: Path
    """The run directory: new or empty, or the run that ``resume`` belongs to."""
    recipe: RecipeUse | None = None
    """The recipe that the other settings came from, which the run records; ``recipe_config`` fills it in."""
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
    size_from: int | None = None
    """Begin with images of this size in pixels, and grow to ``image_size``. None: one size for the whole run."""
    size_ramp: tuple[float, float] = (0.74, 0.86)
    """The shares of the run between which the size grows, epoch by epoch, rounded to multiples of 32 pixels in between.
    The default is that of FFCV's recipe: epochs 65 to 76 of 88."""
    scale: tuple[float, float] = SCALE
    """As ``LoaderSpec.scale``: the shares of the image's area in the crop of a train image."""
    ratio: tuple[float, float] = RATIO
    """As ``LoaderSpec.ratio``: the width / height of these crops."""
    flip: float = FLIP
    """As ``LoaderSpec.flip``: the probability that a train image is mirrored."""
    interpolation: Interpolation = "bilinear"
    """As ``LoaderSpec.interpolation``, for train and val."""
    repeat: int = 1
    """As ``LoaderSpec.repeat``: repeated augmentation, each image so many times in as many times fewer epochs."""
    eval_image_size: int | None = None
    """Height and width of the images of an evaluation, in pixels; None means ``image_size``."""
    eval_resize: int | None = None
    """Their short side before the centre crop, as ``LoaderSpec.resize_size``; None means size * 256 / 224."""
    eval_flip: bool = False
    """Evaluate each image and its mirror image, and take the mean of their scores."""
    decode: Decode = "cpu"
    """As ``LoaderSpec.decode``."""
    dct_scaling: bool = False
    """As ``LoaderSpec.dct_scaling``, for train images; evaluation uses the pixels of the reference."""
    pixels: PixelOrder = "exact"
    """As ``LoaderSpec.pixels``, for train images."""
    on_error: OnError = "raise"
    """As ``LoaderSpec.on_error``: what an image that cannot be decoded does to the run."""
    colour_jitter: float = 0.0
    """Change brightness, contrast and saturation of each train image by up to this share, in random order."""
    augment: str = "none"
    """Operations on each train image: ``trivial`` (TrivialAugment), ``rand-N-M`` (RandAugment as in torchvision: N
    operations of magnitude M of 30), or timm's text for RandAugment, such as ``rand-m7-mstd0.5-inc1``."""
    erase: float = 0.0
    """The probability that a rectangle of a train image is erased (Zhong et al., 2017)."""
    mixup: float = 0.0
    """Mix pairs of train images and their labels (Zhang et al., 2017): the alpha of the Beta distribution of shares."""
    cutmix: float = 0.0
    """Replace a rectangle by that of another train image, and mix their labels (Yun et al., 2019): as ``mixup``."""
    mix_probability: float = 1.0
    """The probability that a batch, or a sample, is mixed at all."""
    mix_switch: float = 0.5
    """The probability of CutMix if both are on."""
    mix_mode: MixMode = "batch"
    """Whether the share and the rectangle are drawn once per ``batch``, as the sources do, or for each ``sample``."""
    drop_path: float | None = None
    """Stochastic depth (Huang et al., 2016): the probability that the last residual block is left out for a sample;
    it grows linearly over the blocks. None means that of the model: 0 for ResNets, 0.1 for ``convnext_tiny``."""
    blurpool: bool = False
    """Blur the input of each strided convolution of 16 or more channels (Zhang, 2019), as FFCV does."""
    loss: LossName = "ce"
    """``ce``: cross-entropy. ``bce``: binary cross-entropy for each class, the mean over the classes."""
    bce_threshold: float | None = None
    """With ``bce``: classes with a larger share of a mixed label count as 1, all others as 0."""
    teacher: Path | None = None
    """A checkpoint whose model the run also learns from (Hinton et al., 2015)."""
    distill_weight: float = 0.5
    """The weight of the teacher's scores in the loss; the labels have the rest."""
    distill_temperature: float = 1.0
    """What the scores of both models are divided by."""
    optimiser: OptimiserName = "sgd"
    """``lamb`` is that of timm."""
    lr: float | None = None
    """Learning rate after the warm-up; None means 0.1 (SGD), 2.5e-4 (AdamW) or 6.25e-4 (LAMB) per 256 images of all
    ranks' batch."""
    schedule: ScheduleName = "cosine"
    """The rate after the warm-up. ``cosine`` and ``linear`` fall to ``lr_end``, ``step`` falls to a tenth after each
    third of the run, and ``constant`` does not change."""
    warmup: float = 0.05
    """Share of the run's steps over which the learning rate rises linearly."""
    warmup_start: float = 0.01
    """The rate of the first step, as a share of ``lr``."""
    schedule_after_warmup: bool = True
    """Whether the schedule begins when the warm-up ends. False: it begins with the run, and the warm-up replaces its
    first part, as in timm."""
    lr_end: float = 0.0
    """The rate at which ``cosine`` and ``linear`` end, as a share of ``lr``."""
    lr_per: RatePer = "step"
    """Whether the rate changes every ``step``, or once per ``epoch`` as in torchvision and timm."""
    momentum: float = 0.9
    """Momentum of SGD; other optimisers ignore it."""
    nesterov: bool = True
    """Whether that momentum is Nesterov's."""
    weight_decay: float | None = None
    """None means 1e-4 (SGD), 0.05 (AdamW) or 0.02 (LAMB). Norms, biases and other vectors have their own."""
    norm_weight_decay: float = 0.0
    """Weight decay of the weights and biases of normalisations."""
    bias_weight_decay: float = 0.0
    """Weight decay of other biases, and of other vectors."""
    label_smoothing: float = 0.0
    """Share of each label that is spread evenly over all classes (Szegedy et al., 2016)."""
    clip: float | None = None
    """Largest norm of the gradient of all weights together; None means no limit."""
    accumulate: int = 1
    """Number of parts that a batch is cut into. They are computed one after the other, so that the activations need
    that much less memory."""
    ema: float | None = None
    """Decay per step of an exponential moving average of the weights, which is then evaluated; None: no average."""
    ema_steps: int = 1
    """Update the average every so many steps."""
    ema_start: float = 0.0
    """The share of the run up to which the average is a copy of the weights."""
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
        check_names(self)
        set_types_of_run(self)
        check_values(self)
        check_together(self)


def set_types_of_run(config: Any) -> None:
    """Make each field of a config with a root and a device its type. Raises TrainingError for any other type."""
    device = str(config.device) if isinstance(config.device, torch.device) else config.device
    try:
        root = root_path_of("root", config.root)
    except LoaderError as error:
        raise TrainingError(str(error)) from error
    for name, value in (("root", root), ("device", device)):
        object.__setattr__(config, name, value)  # a config is frozen, and this is its construction
    set_types(config, TrainingError, besides=("root",))


def resolved(config: TrainConfig, ranks: int = 1) -> TrainConfig:
    """Return the settings with ``stem``, ``lr`` and ``weight_decay`` filled in, as the run records them."""
    return replace(config, **filled_in(vars(config), config.batch_size * ranks))


def filled_in(settings: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """Return what ``stem``, ``lr`` and ``weight_decay`` mean in these settings, with ``batch`` images of a step."""
    optimiser, lr, decay = settings["optimiser"], settings["lr"], settings["weight_decay"]
    return {
        "stem": chosen_stem(settings["stem"], settings["image_size"], settings["model"]),
        "lr": LR_PER_256[optimiser] * batch / 256 if lr is None else lr,
        "weight_decay": WEIGHT_DECAY[optimiser] if decay is None else decay,
    }


def chosen_stem(stem: Stem, image_size: int, model: str) -> Stem:
    """Return the stem that ``auto`` means for a model and an image size in pixels; return any other stem unchanged."""
    if stem != "auto":
        return stem
    return "small" if image_size <= SMALL_STEM_UP_TO and model in SMALL_STEM_MODELS else "imagenet"
