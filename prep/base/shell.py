"""Words of the commands that messages advise, quoted so that the user can paste the command into a shell.

A path may hold spaces, quotes, "$", control characters, bytes that are not text, or begin with a dash. Every message
that prints a command with a value of the user passes the value through ``shell_word``.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import PurePath

from .origins import shown

CMD_SPECIAL = re.compile(r"""[\s&|<>^()%!;,=`'@~\[\]{}]""")  # of cmd.exe and PowerShell


def shell_word(value: object, *, windows: bool = sys.platform == "win32") -> str:
    """Return a value as one word for the user's shell: sh, or cmd.exe on Windows.

    A path that begins with a dash gets "./" before it, so that no command takes it for an option. What cannot be
    printed is written in bash's and zsh's form for it, $'...'. A copy of a root behind a URL is named by its URL.
    """
    text = shown(value)
    if isinstance(value, PurePath) and text.startswith("-"):
        text = os.path.join(os.curdir, text)  # noqa: PTH118 - pathlib drops the dot
    if windows:
        return _for_cmd(text)
    return shlex.quote(text) if text.isprintable() else _escaped(text)


def _for_cmd(text: str) -> str:
    """Return a text as one word for cmd.exe, and for the C library of the program, which splits the line again."""
    word = subprocess.list2cmdline([text])
    return f'"{word}"' if word == text and CMD_SPECIAL.search(text) else word


def _escaped(text: str) -> str:
    """Return a text in the form $'...': every byte that is not printable as an octal number of three digits."""
    parts = (
        character
        if character.isprintable() and character not in "\\'"
        else "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))
        for character in text
    )
    return f"$'{''.join(parts)}'"
