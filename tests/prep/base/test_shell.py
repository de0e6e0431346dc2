"""Words of advised commands: what a shell makes of them is the value."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from feedline.prep.base.shell import shell_word

needs_bash = pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="needs bash")


@needs_bash
def test_a_shell_gives_back_the_path() -> None:
    """Whatever its bytes are; a dash at the beginning is no option."""
    names = ["plain", "a b", "it's", '"', "$HOME", "`id`", "a;b", "*", "~", "\\", "[red]", "ü", "-x"]
    names += ["a\nb", "tab\t'\\", "\x1b[31m", "\x7f", os.fsdecode(b"caf\xe9 1"), "\u2028", "\u202e"]
    words = [shell_word(Path(name)) for name in names]
    assert all(word.isprintable() for word in words)
    line = f"printf '%s\\0' {' '.join(words)}"
    done = subprocess.run(["bash", "-c", line.encode()], capture_output=True, check=True)
    expected = [os.fsencode(name) for name in names]
    expected[names.index("-x")] = b"./-x"
    assert done.stdout.split(b"\0")[:-1] == expected
    assert shell_word("") == "''" and shell_word(3) == "3"


def test_windows_quotes_in_its_own_way() -> None:
    """cmd.exe splits at more characters than the C library of the program."""
    words = [shell_word(name, windows=True) for name in ("C:\\data", "C:\\my data\\", "C:\\a&b", "C:\\x (1)")]
    assert words == ["C:\\data", '"C:\\my data\\\\"', '"C:\\a&b"', '"C:\\x (1)"']
