"""One measuring run of a peer, in its own environment: ``python -m feedline.benchmarks.peers.child WORK``.

The job on stdin, the loop and the answer on stdout are the same as for feedline's own loaders (``measuring.child``).
"""

import sys
import time
from pathlib import Path

from ...prep import MeasurementError
from ..machine.process_usage import bytes_read, cpu_seconds
from ..measuring.child import answer_job
from ..measuring.dataset import classes_of, describe
from ..measuring.measure import Expected, measure
from ..measuring.process import Answer, MeasuringJob
from .conversions import images_of, peer_module, place_of
from .pixel_check import check_images
from .table import PEERS


def main() -> None:
    """Answer one job."""
    answer_job(_run)


def _run(job: MeasuringJob) -> Answer:
    spec, peer = job.spec, PEERS[job.loader]
    if spec.split != "train":
        raise MeasurementError(f"peers are measured on the train split, not on {spec.split!r}; use --split train")
    if spec.workers < peer.least_workers:
        raise MeasurementError(
            f"{job.loader} needs at least {peer.least_workers} of its {peer.workers}; "
            f"use --workers {peer.least_workers}"
        )
    expected = Expected(
        samples=describe(spec.root, spec.split).samples,
        classes=classes_of(spec.root, spec.split),
        image_size=spec.image_size,
        replays=peer.repeats,
    )
    samples, module = images_of(spec.root, spec.split), peer_module(job.loader)
    started = time.perf_counter()
    place = place_of(job.loader, spec.root, spec.split, Path(sys.argv[1]))
    epochs = module.open_peer(spec, samples, place, **peer.options)
    opened = time.perf_counter()
    measurement = measure(
        epochs, expected, job.seconds, one_epoch=job.one_epoch, cpu_seconds=cpu_seconds, bytes_read=bytes_read
    )
    check_images(epochs, samples)
    return Answer(open_seconds=opened - started, measurement=measurement)


if __name__ == "__main__":
    main()
