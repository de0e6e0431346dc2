"""``python -m feedline.train``: the form that torchrun starts, as in ``torchrun --nproc-per-node=2 -m feedline.train``.

It is ``feedline train``. The command stands two floors up, where nothing here may import from, so it is found as
the shell finds it: by the entry point that the package is installed with.
"""

import sys
from importlib.metadata import entry_points


def main() -> None:
    """Run ``feedline train`` with this process's arguments."""
    command = next(iter(entry_points(group="console_scripts", name="feedline")))
    sys.argv[:1] = ["feedline", "train"]
    command.load()()


if __name__ == "__main__":  # loader workers that are spawned import this module again
    main()
