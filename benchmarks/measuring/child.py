"""The program of a measuring process: ``python -m feedline.benchmarks.measuring.child``.

It reads a MeasuringJob as JSON from stdin, measures it, and writes an Answer as JSON to stdout. All other output, of
libraries and of the loader's workers, goes to stderr: stdout is redirected before the job is read and the loader is
opened. The guard at the bottom lets Windows start worker processes, which import this module again.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from pydantic import TypeAdapter

from ...loaders import LOADERS, Loader, LoaderSpec, loader_versions, open_loader, prepare_loader
from ...prep import SHARDS, FeedlineError, read_shard_manifest
from ...prep.base.documents import from_json
from ...prep.base.origins import is_absent
from ...prep.limits.memory import failed_allocation, memory_ran_out
from ...prep.processes.parent import end_with
from ...prep.roots.places import shard_path
from ..machine.process_usage import bytes_read, cpu_seconds
from .dataset import classes_of, describe
from .encodings import Profile, encoding_of, time_encodings
from .measure import Expected, measure
from .model_step import SteppedEpochs, step_function
from .process import WAY_OUT, Answer, MeasuringJob
from .stacks import cancel_dump, dump_stacks_at
from .stages import throttled_samples, time_stages_of

T = TypeVar("T")


def main() -> None:
    """Measure one job."""
    answer_job(measure_job)


def answer_job(run: Callable[[MeasuringJob], Answer]) -> None:
    """Read a job from stdin, ``run`` it, and write its answer to stdout.

    A FeedlineError becomes an answer too, and so does an allocation that failed. The process ends soon after the one
    that waits for the answer.
    """
    answers = os.dup(1)
    os.dup2(2, 1)
    job = from_json(sys.stdin.buffer.read(), MeasuringJob)
    if job.parent is not None:
        end_with(job.parent)
    if job.dump_stacks_at is not None:
        dump_stacks_at(job.dump_stacks_at)
    answer = answered(lambda: run(job), lambda problem: Answer(problem=problem))
    cancel_dump()
    with os.fdopen(answers, "wb") as stdout:
        stdout.write(TypeAdapter(Answer).dump_json(answer))


def answered(run: Callable[[], T], failed: Callable[[str], T]) -> T:
    """Return what ``run`` returns, or ``failed`` of the message of a FeedlineError or of an allocation that failed."""
    try:
        return run()
    except FeedlineError as error:
        return failed(str(error))
    except (MemoryError, RuntimeError) as error:
        if not failed_allocation(error):
            raise
        return failed(memory_ran_out(error, WAY_OUT))


def measure_job(job: MeasuringJob) -> Answer:
    """Measure ``job`` in this process. Raises the errors of the loader, the model and ``measure``."""
    if job.profile:
        return Answer(profile=_profile(job))
    spec = job.spec
    expected = Expected(
        samples=describe(spec.root, spec.split).samples,
        classes=classes_of(spec.root, spec.split),
        image_size=spec.side,
        replays=not LOADERS[job.loader].covers_epoch,
    )
    loader_versions(job.loader)  # imports its library, which is not part of opening data: torchvision takes 1.2 s
    prepare_loader(job.loader)
    started = time.perf_counter()
    loader = _open(job)
    opened = time.perf_counter()
    epochs = loader if job.step is None else SteppedEpochs(loader, step_function(job.step, spec))
    try:
        measurement = measure(
            epochs,
            expected,
            job.seconds,
            one_epoch=job.one_epoch,
            settled=_fetched(spec) if job.until_fetched else lambda: True,
            cpu_seconds=cpu_seconds,
            bytes_read=bytes_read,
        )
    finally:
        loader.close()
    return Answer(open_seconds=opened - started, measurement=measurement)


def _open(job: MeasuringJob) -> Loader:
    if job.throttle is None:
        return open_loader(job.loader, job.spec)
    return open_loader(job.loader, job.spec, samples=throttled_samples(job.loader, job.spec, job.throttle))


def _fetched(spec: LoaderSpec) -> Callable[[], bool]:
    """Return what says whether all shards of the split are here."""
    directory = spec.root / SHARDS
    manifest = read_shard_manifest(directory)
    absent = [shard_path(directory, manifest, shard) for shard in manifest.splits[spec.split].shards]

    def fetched() -> bool:
        absent[:] = [path for path in absent if is_absent(path)]
        return not absent

    return fetched


def _profile(job: MeasuringJob) -> Profile:
    return Profile(
        as_is=time_stages_of(job.loader, job.spec, job.throttle),
        encode=encoding_of(job.loader, job.spec),
        encodings=time_encodings(job.loader, job.spec),
    )


if __name__ == "__main__":
    main()
