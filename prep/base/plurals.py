"""Counts in messages: "1 epoch", "2 epochs"."""


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``one``, or ``many``, by default ``one`` with an "s"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
