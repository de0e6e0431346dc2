"""Other projects' loaders, each as its own documentation recommends for ImageNet, timed by the same loop as ours.

What runs, installs or checks a peer belongs here, and the module that opens one library's loader belongs to
``adapters``. Our own loaders are measured by ``bench``.
"""

from .contest import Contest, find_peers
from .environments import how_to_install, install
from .table import PEERS, Peer

__all__ = ["PEERS", "Contest", "Peer", "find_peers", "how_to_install", "install"]
