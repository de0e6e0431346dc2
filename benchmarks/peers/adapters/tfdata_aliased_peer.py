"""tf.data without antialiasing, as TensorFlow's own ImageNet models resize: less work than ``tfdata`` does."""

from collections.abc import Sequence
from pathlib import Path

from ....loaders import LoaderSpec
from ....prep.roots.samples import Sample
from . import tfdata_peer
from .epochs import PeerEpochs


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return the epochs of ``tfdata`` with its resize not antialiased."""
    return tfdata_peer.open_peer(spec, samples, place, antialias=False)
