"""The program of one emulated accelerator: ``python -m feedline.benchmarks.utilisation.child``.

It reads an EmulationJob as a line of JSON from stdin. After each step it writes STEP to stdout and reads a word from
stdin. Its last line is an EmulationAnswer. All other output goes to stderr. It ends when the process that started it
ends, which closes stdin.
"""

import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, cast, get_args

from ...loaders import LoaderSpec, loader_versions, open_loader, prepare_loader
from ...prep import MeasurementError
from ...prep.base.documents import from_json, json_bytes
from ...prep.processes.parent import end_with
from ..machine.process_usage import cpu_seconds
from ..measuring.child import answered
from ..measuring.stacks import cancel_dump, dump_stacks_at
from .pace import Word
from .steps import Emulated, emulate

STEP = b"step\n"


@dataclass(frozen=True, kw_only=True)
class EmulationJob:
    """What one accelerator does."""

    loader: str
    spec: LoaderSpec
    """With the rank of this accelerator among all of them: its share."""
    seconds_per_image: float
    """The compute time."""
    dump_stacks_at: float | None = None
    """As ``MeasuringJob.dump_stacks_at``."""
    parent: int | None = None
    """As ``MeasuringJob.parent``."""


@dataclass(frozen=True, kw_only=True)
class EmulationAnswer:
    """What one accelerator returns: its counts, or the problem that prevented them."""

    problem: str | None = None
    emulated: Emulated | None = None


def main() -> None:
    """Run one accelerator."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    words = cast(BinaryIO, sys.stdin.buffer)
    job = from_json(words.readline(), EmulationJob)
    if job.parent is not None:
        end_with(job.parent)
    if job.dump_stacks_at is not None:
        dump_stacks_at(job.dump_stacks_at)

    def wait() -> Word:
        answers.write(STEP)
        return word_in(words.readline())

    answer = answered(lambda: EmulationAnswer(emulated=run_job(job, wait)), lambda text: EmulationAnswer(problem=text))
    cancel_dump()
    answers.write(json_bytes(answer) + b"\n")


def run_job(job: EmulationJob, wait: Callable[[], Word]) -> Emulated:
    """Emulate the accelerator in this process. Raises the errors of the loader and of ``emulate``."""
    loader_versions(job.loader)  # imports its library, which is not part of opening data
    prepare_loader(job.loader)
    with closing(open_loader(job.loader, job.spec)) as loader:
        return emulate(loader, lambda images: images * job.seconds_per_image, wait, cpu_seconds=cpu_seconds)


def word_in(line: bytes) -> Word:
    """Return the word of a line; raise MeasurementError for another, such as none from a process that has ended."""
    for word in get_args(Word):
        if line.strip() == word.encode():
            return word
    raise MeasurementError("the process that started the emulated accelerators has ended; start the command again")


if __name__ == "__main__":
    main()
