"""The values of the settings that are names. The command line has copies, because help must not import torch."""

from typing import Literal

OptimiserName = Literal["sgd", "adamw", "lamb"]
ScheduleName = Literal["cosine", "linear", "step", "constant"]
RatePer = Literal["step", "epoch"]
LossName = Literal["ce", "bce"]
MixMode = Literal["batch", "sample"]
Precision = Literal["none", "bf16", "fp16"]
Stem = Literal["auto", "imagenet", "small"]
