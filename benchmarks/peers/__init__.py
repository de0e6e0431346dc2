"""Other projects' loaders, each as its own documentation recommends for ImageNet, timed by the same loop as feedline's.

Code that runs, installs or checks a peer belongs here. The module that opens one library's loader belongs to
``adapters``. ``bench`` measures feedline's own loaders.
"""

from .contest import SMALL, Contest, find_peers, suited
from .environments import how_to_install, install
from .table import PEERS, Peer

__all__ = ["PEERS", "SMALL", "Contest", "Peer", "find_peers", "how_to_install", "install", "suited"]
