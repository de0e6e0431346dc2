"""Values of the Windows registry that describe the machine."""

import contextlib
import sys


def registry_value(key: str, name: str) -> str | int | None:
    """Return the value ``name`` below ``key`` of HKEY_LOCAL_MACHINE; None if it is missing, and outside Windows."""
    if sys.platform == "win32":
        import winreg

        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
            return winreg.QueryValueEx(opened, name)[0]
    return None
