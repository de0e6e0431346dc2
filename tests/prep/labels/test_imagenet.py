"""The bundled labels are the official ones, and reading them needs neither a network nor torchvision."""

import hashlib
import subprocess
import sys
from collections import Counter

from feedline.prep import class_names, validation_labels, wnids


def test_the_validation_labels_are_the_official_ones() -> None:
    """There are 50,000 names, 50 per class, and the list has the published sha256."""
    labels = validation_labels()
    text = "".join(f"{name} {wnid}\n" for name, wnid in sorted(labels.items()))

    assert set(Counter(labels.values()).values()) == {50} and len(labels) == 50_000
    assert hashlib.sha256(text.encode()).hexdigest().startswith("51f21feed9bb7017")
    assert labels["ILSVRC2012_val_00000001.JPEG"] == "n01751748"  # sea snake: devkit id 490, sorted index 65
    assert wnids().index("n01751748") == 65


def test_the_class_names_are_torchvisions() -> None:
    """The bundled table equals the metadata of torchvision's weights, in the order of the sorted wnids."""
    from torchvision.models import ResNet18_Weights

    assert list(class_names()) == list(wnids())
    assert list(class_names().values()) == ResNet18_Weights.IMAGENET1K_V1.meta["categories"]


def test_names_and_labels_need_no_torch() -> None:
    """They import neither torch nor torchvision, so that preparing needs little memory."""
    code = (
        "import sys; from feedline import prep; prep.class_names(); prep.validation_labels(); "
        "print([m for m in ('torch', 'torchvision') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
