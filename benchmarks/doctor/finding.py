"""One thing that ``feedline doctor`` has to say: what was found, what follows, and the command that mends it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "problem"]
"""ok: nothing to do. note: works, and something could be better or should be known. warning: costs speed, or breaks
one way of working. problem: feedline cannot work."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing about this machine."""

    subject: str
    level: Level
    found: str
    consequence: str | None = None
    mend: str | None = None
    """The command, or where there is none, what to do."""
