"""The next command after a fault, as feedline itself advised it in its output.

The errors of feedline end with the next step: a whole command ("continue with: feedline train --resume ..."), another
directory ("choose another --out"), or the same command again. A process that was killed says nothing; its user runs the
same command again.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Way = Literal["command", "other out", "same command", "nothing said"]

_COMMAND = re.compile(r"(?:with|by|run|from): (feedline (?:prep|shard|bench|train) [^;\n]+)")
_SAME = re.compile(r"same command|again|make room|retry", re.IGNORECASE)
_OTHER_OUT = re.compile(r"another (?:directory with |disk with )?--out")
_PLACEHOLDER = re.compile(r"(?<![\w/.-])[A-Z]{2,}(?![\w/.-])")


@dataclass(frozen=True)
class Advice:
    """The words of the next command, without the program, and how they were found."""

    words: tuple[str, ...]
    way: Way


def advised(output: str, words: Sequence[str], attempt: int, *, repeated: bool = False) -> Advice:
    """Return what the user runs next, if ``words`` printed ``output``; ``attempt`` numbers a new directory.

    A message may offer the same command or another directory. If ``repeated``, the first was of no use already.
    """
    said = [line for line in output.splitlines() if line.startswith("feedline: ") or "continue with: " in line]
    for line in reversed(said):
        for match in _COMMAND.finditer(line):
            found = _words_of(match[1])
            if found and found[0] == words[0]:
                return Advice(found, "command")
    last = said[-1] if said else ""
    if _OTHER_OUT.search(last) and (repeated or not _SAME.search(last)):
        return Advice(_with_other_out(words, attempt), "other out")
    return Advice(tuple(words), "same command" if _SAME.search(last) else "nothing said")


def _words_of(command: str) -> tuple[str, ...]:
    """Return the words of a command that can be run as it is, else nothing."""
    if _PLACEHOLDER.search(command):
        return ()
    try:
        return tuple(shlex.split(command))[1:]
    except ValueError:  # it ends inside quotation marks
        return ()


def _with_other_out(words: Sequence[str], attempt: int) -> tuple[str, ...]:
    place = words.index("--out") + 1
    out = Path(words[place])
    return (*words[:place], str(out.with_name(f"{out.name}-{attempt}")), *words[place + 1 :])
