"""The emulated accelerators, and what their utilisation is.

The definition is that of MLPerf Storage (github.com/mlcommons/storage, Submission_guidelines.md of v2.0, June 2025,
sections 3, 4 and 6.6; the metric is the same in v3.0, September 2026):

    AU = total_compute_time / total_benchmark_running_time

The compute time of a batch is a sleep of the published time of one training step. The first step of each epoch is left
out of both times, its loading included: it has the start of the pipeline. It counts in samples/s. A workload of
ResNet-50 passes with an AU of 90 % or more. The benchmark's tool (github.com/argonne-lcf/dlio_benchmark,
utils/statscounter.py and main.py) takes the mean over the accelerators, which wait for each other after each step.

MLPerf Storage decodes nothing: its records go from storage into memory. Here the loaders decode, crop and resize JPEGs
too. So these figures cannot be compared with results of the benchmark, whose name is a trademark of MLCommons.
"""

from dataclasses import dataclass

MINIMUM_AU = 0.9
"""The least utilisation, 0 to 1, that counts as kept: MLPerf Storage's for ResNet-50."""
BATCH_SIZE = 400
"""Images per batch and accelerator in MLPerf Storage's workloads of ResNet-50."""
RECORD_BYTES = 114_660
"""Bytes of one image in these workloads."""
IMAGE_SIZE = 224
"""Height and width, in pixels, of the images that their compute times are for."""


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """An emulated accelerator that trains a ResNet-50."""

    name: str
    step_seconds: float
    """Compute time of a batch of BATCH_SIZE images."""
    source: str

    @property
    def images_per_second(self) -> float:
        """The images that it takes at a utilisation of 100 %."""
        return BATCH_SIZE / self.step_seconds

    def compute_seconds(self, images: int) -> float:
        """Return the compute time of a batch of ``images`` images."""
        return self.step_seconds * images / BATCH_SIZE


H100 = Accelerator(
    name="h100",
    step_seconds=0.224,
    source="MLPerf Storage v2.0, workload resnet50_h100: 0.224 s for a batch of 400",
)
A100 = Accelerator(
    name="a100",
    step_seconds=0.435,
    source="MLPerf Storage v2.0, workload resnet50_a100: 0.435 s for a batch of 400",
)
ACCELERATORS = {accelerator.name: accelerator for accelerator in (H100, A100)}
"""By the names that ``--gpu`` accepts; MLPerf Storage has a compute time of ResNet-50 for these two only."""


def utilisation_of(accelerator: Accelerator, images_per_second: float, accelerators: int = 1) -> float:
    """Return the utilisation, 0 to 1, of accelerators that together get ``images_per_second``, without a run.

    It is what an emulation reaches if the loader is as fast while the accelerators compute as it is alone.
    """
    return min(1.0, images_per_second / (accelerators * accelerator.images_per_second))
