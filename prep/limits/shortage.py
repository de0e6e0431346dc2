"""What is short on a machine: the limit with its value, what follows, and the next step."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """A limit that is reached, or will be. ``feedline doctor`` prints its parts, and an error the whole sentence."""

    found: str
    """The limit and its value, such as "this process may open 256 files"."""
    consequence: str
    """What fails."""
    remedy: str
    """The next step, with the command that raises the limit."""

    @property
    def sentence(self) -> str:
        """The three parts as one sentence."""
        return f"{self.found}, so {self.consequence}; {self.remedy}"


def size_text(count: int) -> str:
    """Return a number of bytes as text, in MB or GB."""
    return f"{count / 10**9:,.1f} GB" if count >= 10**9 else f"{count / 10**6:,.0f} MB"
