"""The finding of one check: what was found, what follows from it, and the command that fixes it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "problem"]
"""ok: nothing to do. note: feedline works; something can be improved, or the user should know it. warning: feedline is
slower, or one way to use it fails. problem: feedline cannot work."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding about a machine."""

    subject: str
    level: Level
    found: str
    consequence: str | None = None
    mend: str | None = None
    """The command that fixes it, or what to do if there is no command."""
