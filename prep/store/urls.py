"""Places of the user: a folder of this machine, or a URL whose text never shows its credentials."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..base.errors import StoreError
from ..base.origins import SCHEME, folder_of, is_ambiguous, is_url, plain_url
from .access import PACKAGES, protocol_of
from .credentials import next_step

SAFE = "%/:@!$&'()*+,;=~?#[]"  # characters of a web address that stay as the user wrote them


@dataclass(frozen=True)
class Url:
    """A URL. Its text is the URL without user, password, query and fragment."""

    given: str = field(repr=False)
    """As the user gave it, for requests."""

    def __truediv__(self, name: str) -> "Url":
        """Return the URL of what lies below it; a query, which signs the requests of a web server, stays at the end."""
        address, mark, query = self.given.partition("?") if self.is_web else (self.given, "", "")
        return Url(f"{address.rstrip('/')}/{name}{mark}{query}")

    def __str__(self) -> str:
        return plain_url(self.given)

    @property
    def is_web(self) -> bool:
        """Whether a web server answers, which can be read only, and lists no files."""
        return protocol_of(self.given) in ("http", "https")

    @property
    def name(self) -> str:
        """The last part of its path."""
        return str(self).rstrip("/").rpartition("/")[2]


def place_of(value: Any) -> Path | Url:
    """Return the folder of this machine or the URL that a value names.

    A ``file://`` URL is a folder. pathlib makes ``s3:/bucket`` of ``s3://bucket``; such a path is a URL again. Raises
    StoreError as ``require_usable`` does.
    """
    if isinstance(value, Url):
        return value
    text = Path(value).as_posix() if isinstance(value, os.PathLike) else str(value).strip()
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", text)
    if match is not None and isinstance(value, os.PathLike) and match[1].lower() in (*PACKAGES, "file"):
        slashes = "///" if match[1].lower() == "file" else "//"
        text = f"{match[1]}:{slashes}{text[match.end() :]}"
    if not is_url(text):
        return Path(value)
    if (folder := folder_of(text)) is not None:
        return folder
    text = SCHEME.sub(lambda scheme: scheme[0].lower(), text, count=1)
    require_usable(text)
    text = text.rstrip("/")
    return Url(quote(text, safe=SAFE) if text.startswith("http") else text)


def require_usable(url: str) -> None:
    """Raise StoreError for a URL without a host, or with credentials that its store does not take or that are unclear.

    Requests would be made without such credentials. A protocol that is unknown is left to ``Store``.
    """
    protocol, plain = protocol_of(url), plain_url(url)
    if protocol not in PACKAGES:
        return
    if is_ambiguous(url):
        raise StoreError(
            f"{plain} was given with an @ that may end a password or follow the host; in the password "
            f"write %2F for /, %3F for ?, %23 for # and %40 for @, and elsewhere %40 for @"
        )
    if not plain.partition("://")[2].strip("/"):
        raise StoreError(f"{plain} names no host and no bucket; write a URL such as s3://bucket/data")
    if url != plain and protocol not in ("http", "https"):
        raise StoreError(
            f"{plain} was given with a user, a password, or what follows ? or #, which {protocol}:// URLs do not "
            f"have; {next_step(plain)}"
        )
