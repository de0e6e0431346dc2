"""``python -m feedline.train``, for torchrun: ``torchrun --nproc-per-node=2 -m feedline.train``.

It runs ``feedline train``. That command is in ``feedline.cli``, which this package must not import. So the command is
found as the shell finds it: by the entry point of the installed package.
"""

import sys
from importlib.metadata import entry_points


def main() -> None:
    """Run ``feedline train`` with this process's arguments."""
    command = next(iter(entry_points(group="console_scripts", name="feedline")))
    sys.argv[:1] = ["feedline", "train"]
    command.load()()


if __name__ == "__main__":  # spawned loader workers import this module again
    main()
