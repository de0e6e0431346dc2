"""The options that a training recipe is made of: images, augmentation, labels, optimiser, learning rate."""

from pathlib import Path

import click

from ..options import AT_LEAST_1, SHARE, LocalPath

# Copies of what feedline.train defines, because importing it loads torch, which help must not. A test compares them.
OPTIMISERS = ("sgd", "adamw", "lamb")
SCHEDULES = ("cosine", "linear", "step", "constant")
RATES_PER = ("step", "epoch")
LOSSES = ("ce", "bce")
MIX_MODES = ("batch", "sample")
INTERPOLATIONS = ("bilinear", "bicubic")

NUMBER = click.FLOAT

AUGMENTATION = (
    click.option(
        "--size-from",
        type=AT_LEAST_1,
        metavar="PX",
        help="Begin with images of this size, and grow to --image-size.",
    ),
    click.option(
        "--size-ramp",
        type=SHARE,
        nargs=2,
        default=(0.74, 0.86),
        show_default=True,
        metavar="FROM TO",
        help="Shares of the run between which --size-from grows, in multiples of 32 px.",
    ),
    click.option(
        "--scale",
        type=NUMBER,
        nargs=2,
        default=(0.08, 1.0),
        show_default=True,
        metavar="MIN MAX",
        help="Shares of an image's area in the crops of training.",
    ),
    click.option(
        "--ratio",
        type=NUMBER,
        nargs=2,
        default=(3 / 4, 4 / 3),
        show_default="3/4 4/3",
        metavar="MIN MAX",
        help="Width / height of the crops of training.",
    ),
    click.option(
        "--flip",
        type=SHARE,
        default=0.5,
        show_default=True,
        metavar="SHARE",
        help="Probability that a train image is mirrored.",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(INTERPOLATIONS),
        default="bilinear",
        show_default=True,
        help="How images are resized, in training and evaluation.",
    ),
    click.option(
        "--repeat",
        type=AT_LEAST_1,
        default=1,
        show_default=True,
        metavar="N",
        help="Repeated augmentation: an N-th of the images in an epoch, each N times.",
    ),
    click.option(
        "--eval-image-size",
        type=AT_LEAST_1,
        metavar="PX",
        show_default="--image-size",
        help="Size of the images of an evaluation.",
    ),
    click.option(
        "--eval-resize",
        type=AT_LEAST_1,
        metavar="PX",
        show_default="size * 256 / 224",
        help="Their short side before the centre crop.",
    ),
    click.option(
        "--eval-flip/--no-eval-flip",
        default=False,
        show_default=True,
        help="Evaluate each image and its mirror image; take the mean of their scores.",
    ),
    click.option(
        "--colour-jitter",
        type=SHARE,
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Change brightness, contrast and saturation by up to this share.",
    ),
    click.option(
        "--augment",
        default="none",
        show_default=True,
        metavar="POLICY",
        help="none, trivial (TrivialAugment), rand-N-M (torchvision's RandAugment, such as rand-2-9), or timm's such "
        "as rand-m7-mstd0.5-inc1.",
    ),
    click.option(
        "--erase",
        type=SHARE,
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Probability that a rectangle of an image is erased.",
    ),
    click.option(
        "--mixup", type=NUMBER, default=0.0, show_default=True, metavar="ALPHA", help="Mix pairs of images; 0 is off."
    ),
    click.option(
        "--cutmix",
        type=NUMBER,
        default=0.0,
        show_default=True,
        metavar="ALPHA",
        help="Paste a rectangle of another image; 0 is off.",
    ),
    click.option(
        "--mix-probability",
        type=SHARE,
        default=1.0,
        show_default=True,
        metavar="SHARE",
        help="Probability that a batch, or a sample, is mixed at all.",
    ),
    click.option(
        "--mix-switch",
        type=SHARE,
        default=0.5,
        show_default=True,
        metavar="SHARE",
        help="Probability of CutMix if both are on.",
    ),
    click.option(
        "--mix-mode",
        type=click.Choice(MIX_MODES),
        default="batch",
        show_default=True,
        help="Draw the mix once per batch, or for each sample.",
    ),
)
OPTIMISATION = (
    click.option(
        "--loss",
        type=click.Choice(LOSSES),
        default="ce",
        show_default=True,
        help="Cross-entropy, or binary cross-entropy for each class.",
    ),
    click.option(
        "--bce-threshold",
        type=SHARE,
        metavar="SHARE",
        help="With --loss bce, count classes with a larger share of a mixed label as 1, all others as 0.",
    ),
    click.option(
        "--label-smoothing",
        type=SHARE,
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Smoothing of the labels.",
    ),
    click.option(
        "--teacher",
        type=LocalPath(path_type=Path, exists=True, dir_okay=False),
        metavar="CKPT",
        help="Learn from the scores of this checkpoint's model too.",
    ),
    click.option(
        "--distill-weight",
        type=SHARE,
        default=0.5,
        show_default=True,
        metavar="SHARE",
        help="Weight of the teacher's scores in the loss.",
    ),
    click.option(
        "--distill-temperature",
        type=NUMBER,
        default=1.0,
        show_default=True,
        metavar="T",
        help="What the scores of both models are divided by.",
    ),
    click.option(
        "--optimiser",
        type=click.Choice(OPTIMISERS),
        default="sgd",
        show_default=True,
        help="SGD with Nesterov momentum 0.9, AdamW, or LAMB (needs timm).",
    ),
    click.option(
        "--lr",
        type=NUMBER,
        metavar="RATE",
        show_default="sgd: 0.1, adamw: 2.5e-4, lamb: 6.25e-4, per 256 images of all ranks' batch",
        help="Learning rate after the warm-up.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(SCHEDULES),
        default="cosine",
        show_default=True,
        help="Learning rate after the warm-up: cosine or linear to --lr-end, a tenth after each third of the run, or "
        "constant.",
    ),
    click.option(
        "--warmup",
        type=SHARE,
        default=0.05,
        show_default=True,
        metavar="SHARE",
        help="Share of the run over which the learning rate rises linearly.",
    ),
    click.option(
        "--warmup-start",
        type=SHARE,
        default=0.01,
        show_default=True,
        metavar="SHARE",
        help="Rate of the first step, as a share of --lr.",
    ),
    click.option(
        "--schedule-after-warmup/--schedule-from-start",
        default=True,
        show_default=True,
        help="Whether the schedule begins when the warm-up ends, or with the run as in timm.",
    ),
    click.option(
        "--lr-end",
        type=SHARE,
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Rate at which cosine and linear end, as a share of --lr.",
    ),
    click.option(
        "--lr-per",
        type=click.Choice(RATES_PER),
        default="step",
        show_default=True,
        help="Change the rate every step, or once per epoch.",
    ),
    click.option("--momentum", type=SHARE, default=0.9, show_default=True, metavar="SHARE", help="Momentum of SGD."),
    click.option("--nesterov/--no-nesterov", default=True, show_default=True, help="Nesterov's momentum."),
    click.option(
        "--weight-decay",
        type=NUMBER,
        metavar="RATE",
        show_default="sgd: 1e-4, adamw: 0.05, lamb: 0.02",
        help="Weight decay, except of norms and biases.",
    ),
    click.option(
        "--norm-weight-decay",
        type=NUMBER,
        default=0.0,
        show_default=True,
        metavar="RATE",
        help="Weight decay of normalisations.",
    ),
    click.option(
        "--bias-weight-decay",
        type=NUMBER,
        default=0.0,
        show_default=True,
        metavar="RATE",
        help="Weight decay of other biases.",
    ),
    click.option("--clip", type=NUMBER, metavar="NORM", help="Largest norm of the gradients."),
    click.option("--ema", type=SHARE, metavar="DECAY", help="Evaluate a moving average of the weights, such as 0.999."),
    click.option(
        "--ema-steps",
        type=AT_LEAST_1,
        default=1,
        show_default=True,
        metavar="N",
        help="Update the average every N steps.",
    ),
    click.option(
        "--ema-start",
        type=SHARE,
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Share of the run up to which the average is a copy of the weights.",
    ),
)
