"""The record of injected faults, and its table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..machine.environment import Environment
from ..measuring.record import Code
from .advice import Way
from .kinds import Kind


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one fault did, and what came out in the end."""

    target: str
    """The disturbed command, or ``epochs`` and the loader."""
    kind: Kind
    detail: str
    moment: float
    """Seconds from the start to the fault."""
    code: int | None
    """Exit code of the disturbed process: 0 if the fault did not end it, negative for a signal, None for a hang."""
    said: str
    """The last line of its output; if no further command succeeded, that of the last one."""
    ways: tuple[Way, ...] = ()
    """How each further command was found, until one succeeded."""
    survived: bool
    """Whether the work was done in the end; of epochs, whether they went on or ended with a sentence."""
    lost: int = 0
    """Images or samples that should be in the result and are not, without a report of them."""
    wrong: bool = False
    """Whether anything in the result differs from that of an undisturbed run."""
    hung: bool = False
    crashed: bool = False
    """Whether a signal ended it that the fault did not send, or a traceback or a bug report was printed."""
    processes_left: int = 0
    shared_memory_left: int = 0
    files_left: int = 0
    """Temporary files and open file descriptors."""

    @property
    def left(self) -> int:
        """Everything that was left behind."""
        return self.processes_left + self.shared_memory_left + self.files_left


@dataclass(frozen=True, kw_only=True)
class FaultsRecord:
    """The document of one campaign."""

    format: Literal["feedline-faults"] = "feedline-faults"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    seed: int
    limit_seconds: float
    """Seconds from which a command counts as hanging."""
    not_injected: tuple[str, ...]
    """Kinds of faults that this machine or user could not inject."""
    outcomes: tuple[Outcome, ...]


COLUMNS: dict[str, Callable[[Sequence[Outcome]], int]] = {
    "injected": len,
    "ended the command": lambda found: sum(one.code != 0 for one in found),
    "right in the end": lambda found: sum(one.survived and not one.wrong and not one.lost for one in found),
    "samples lost": lambda found: sum(one.lost for one in found),
    "wrong results": lambda found: sum(one.wrong for one in found),
    "hangs": lambda found: sum(one.hung for one in found),
    "crashes": lambda found: sum(one.crashed for one in found),
    "left behind": lambda found: sum(one.left for one in found),
}


def table(record: FaultsRecord) -> str:
    """Return the figures by kind of fault as Markdown, and the next commands by the way in which they were found."""
    kinds = list(dict.fromkeys(sorted(one.kind for one in record.outcomes)))
    rows = [(kind, [one for one in record.outcomes if one.kind == kind]) for kind in kinds]
    lines = [
        f"| fault | {' | '.join(COLUMNS)} |",
        f"|---|{'---:|' * len(COLUMNS)}",
        *(_line(kind, found) for kind, found in [*rows, ("all", list(record.outcomes))]),
        "",
        f"{_targets(record.outcomes)}. {_ways(record.outcomes)}",
    ]
    if record.not_injected:
        lines += ["", f"Not injected here: {', '.join(record.not_injected)}."]
    return "\n".join(lines)


def _line(name: str, found: Sequence[Outcome]) -> str:
    return f"| {name} | {' | '.join(str(count(found)) for count in COLUMNS.values())} |"


def _targets(outcomes: Sequence[Outcome]) -> str:
    names = sorted({one.target for one in outcomes})
    return "Disturbed: " + ", ".join(f"{name} {sum(one.target == name for one in outcomes)}" for name in names)


def _ways(outcomes: Sequence[Outcome]) -> str:
    """Return how often each kind of advice was followed."""
    used = [way for one in outcomes for way in one.ways]
    if not used:
        return "No command had to be repeated."
    words = {
        "command": "the command in the message",
        "same command": "the same command, as the message says",
        "other out": "another --out, as the message says",
        "nothing said": "the same command after an end without a message",
    }
    return (
        "Followed: " + ", ".join(f"{used.count(way)} times {text}" for way, text in words.items() if way in used) + "."
    )
