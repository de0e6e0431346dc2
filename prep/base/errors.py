"""What can go wrong, as one tree, drawn here so that a caller can choose the branch to catch.

    FeedlineError               every error that feedline raises on purpose
    ├── SourceError             an archive or folder given as input is missing, damaged or foreign
    ├── OutputError             the output place holds something else, or has no room
    ├── DatasetError            a dataset root or shard set is unfinished, damaged or lacks what is asked
    ├── SampleError             one image cannot be decoded
    ├── LoaderError             a loader cannot do what its spec asks
    │   └── LoaderUnavailable   the library that a loader stands on is not installed
    ├── MeasurementError        a benchmark run, or a record of one, cannot be used
    └── TrainingError           a training run or its checkpoint cannot be used

The tree lives on the lowest floor because imports only run down. Each message is one sentence or two:
the thing, its value, and the next command. The command line prints it and leaves with code 1.
"""


class FeedlineError(Exception):
    """Every error that feedline raises on purpose; its text is meant for the user."""


class SourceError(FeedlineError):
    """An archive or folder given as input is missing, damaged or foreign."""


class OutputError(FeedlineError):
    """The output place holds something else, or has no room."""


class DatasetError(FeedlineError):
    """A dataset root or shard set is unfinished, damaged or lacks what is asked."""


class SampleError(FeedlineError):
    """One image cannot be decoded."""


class LoaderError(FeedlineError):
    """A loader cannot do what its spec asks."""


class LoaderUnavailable(LoaderError):
    """The library that a loader stands on is not installed."""


class MeasurementError(FeedlineError):
    """A benchmark run, or a record of one, cannot be used."""


class TrainingError(FeedlineError):
    """A training run or its checkpoint cannot be used."""
