"""The split that the name of a folder or file states, such as "imagenet21k_train", "Validation" or "train2012"."""

import re

SPELLINGS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_SPLITS = {spelling: split for split, spellings in SPELLINGS.items() for spelling in spellings}
# A word between separators or digits: "train.X1", "val_2012", "ILSVRC2012_img_val", but not "trainer" or "interval".
_WORD = re.compile(r"[^\W\d_]+")


def split_of_name(name: str) -> str | None:
    """Return the split that a name states: "train", "val" or "test"; None if it states none, or more than one."""
    found = {_SPLITS[word] for word in _WORD.findall(name.lower()) if word in _SPLITS}
    return found.pop() if len(found) == 1 else None
