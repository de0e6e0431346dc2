"""The exceptions of feedline, as one tree, so that a caller can catch a branch of it.

    FeedlineError               every error that feedline raises on purpose
    ├── SourceError             an archive or folder given as input is missing, damaged or foreign
    ├── OutputError             the output directory holds something else, or its disk has no room
    ├── DatasetError            a dataset root or shard set is unfinished, damaged or lacks what is requested
    │   └── StoreError          what a URL names cannot be fetched, or not be kept in the cache
    ├── SampleError             one image cannot be decoded
    ├── LoaderError             a loader cannot do what its spec requests
    │   ├── LoaderUnavailable   the library that a loader needs is not installed
    │   ├── TransformError      a transform of the user raised; its exception is the cause
    │   └── WorkerLost          a worker process died, or is stopped and is not continued
    ├── MeasurementError        a benchmark run, or a record of one, cannot be used
    └── TrainingError           a training run or its checkpoint cannot be used

A message names the URL of a root, not the folder of the cache that holds its copy.

The tree is in the lowest package because imports only run down. Each message has one or two sentences: what is
wrong, with its value, and the next command. The command line prints the message and exits with code 1.
"""

from .origins import shown


class FeedlineError(Exception):
    """Every error that feedline raises on purpose; its text is meant for the user."""

    def __str__(self) -> str:
        return shown(super().__str__())


class SourceError(FeedlineError):
    """An archive or folder given as input is missing, damaged or foreign."""


class OutputError(FeedlineError):
    """The output directory holds something else, or its disk has no room."""


class DatasetError(FeedlineError):
    """A dataset root or shard set is unfinished, damaged or lacks what is requested."""


class StoreError(DatasetError):
    """What a URL names cannot be fetched, or not be kept in the cache."""


class SampleError(FeedlineError):
    """One image cannot be decoded."""


class LoaderError(FeedlineError):
    """A loader cannot do what its spec requests."""


class LoaderUnavailable(LoaderError):
    """The library that a loader needs is not installed."""


class TransformError(LoaderError):
    """A transform of the user raised, or returned what cannot be in a batch. What it raised is the ``__cause__``."""


class WorkerLost(LoaderError):
    """A worker process died, or is stopped and is not continued. The place before its batch is not lost."""

    exit_code: int | None = None
    """The worker's exit code, the negative number of a signal; None for a stopped worker."""


class MeasurementError(FeedlineError):
    """A benchmark run, or a record of one, cannot be used."""


class TrainingError(FeedlineError):
    """A training run or its checkpoint cannot be used."""
