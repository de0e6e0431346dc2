"""The keys of samples: the stems of the files' names, or a safe and unique form of them, never a rename by the user."""

import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, strategies as st

from feedline.cli.main import run
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import ClassEntry, DatasetError, ShardSpec, find_samples, verify, write_shards
from feedline.prep.roots.samples import Sample
from feedline.prep.shards.keys import MAX_KEY, with_keys
from feedline.prep.sources.reader import Location

# Some of the odd files have broken EXIF, of which Pillow warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*(EXIF|[Tt]ag):UserWarning")

CLASSES = (ClassEntry(id="art", name="art"), ClassEntry(id="big cats", name="big cats"))


def keys_of(names: Sequence[tuple[int, str]]) -> list[str]:
    samples = [Sample(name, label, 1, Location(Path(), name)) for label, name in names]
    return [sample.key for sample in with_keys(samples, CLASSES)]


def members_of(shards: Path) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(shards.glob("*-train-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.name not in found
                held = tar.extractfile(member)
                found[member.name] = held.read() if held else b""
    return found


@pytest.mark.parametrize(
    ("stem", "key"),
    [
        ("two.dots", "two%2Edots"),
        ("ein hase", "ein%20hase"),
        ("__meta", "%5F_meta"),
        ("straße", "stra%C3%9Fe"),
        ("tab\tstop", "tab%09stop"),
        ("x" * 97, "x" * 78 + "-"),
        ("é" * 40, "%C3%A9" * 13),
    ],
)
def test_a_name_that_some_reader_would_split_gets_a_safe_key(stem: str, key: str, folders: Path) -> None:
    """The image stays, its .json has the file's name, and every other key is the stem as before."""
    victim = sorted((folders / "train").rglob("*.JPEG"))[0]
    data, others = victim.read_bytes(), {path.stem for path in (folders / "train").rglob("*.JPEG")} - {victim.stem}
    victim.rename(victim.with_name(stem + ".JPEG"))
    said: list[str] = []
    write_shards(folders, ShardSpec(encode="copy", splits=("train",)), notice=said.append)

    members = members_of(folders / "shards")
    (found,) = {name.removesuffix(".jpg") for name in members if name.endswith(".jpg")} - others
    assert found.startswith(key) and (found == key or len(found) == MAX_KEY)
    assert members[found + ".jpg"] == data
    assert json.loads(members[found + ".json"])["name"] == stem + ".JPEG"
    assert any("1 samples have a key that differs from the file's name" in line for line in said)
    assert verify(folders / "shards").ok


def test_the_same_stem_in_every_class_is_made_unique(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """art_0.jpg in each class: 84 images, none lost, each with the label of its folder, for all loaders."""
    images: dict[tuple[str, str], bytes] = {}
    for place in sorted((folders / "train").iterdir()):
        for number, path in enumerate(sorted(place.iterdir())):
            images[place.name, f"art_{number}.JPEG"] = path.read_bytes()
            path.rename(place / f"art_{number}.JPEG")
    assert run(["shard", str(folders), "--encode", "copy"]) == 0
    assert "84 samples have a key that differs" in " ".join(capsys.readouterr().err.split())

    members = members_of(folders / "shards")
    found = {
        (about["class"], about["name"]): members[name.removesuffix(".json") + ".jpg"]
        for name, about in ((name, json.loads(data)) for name, data in members.items() if name.endswith(".json"))
    }
    assert found == images
    wnid = min(wnid for wnid, _ in images)
    assert members[f"{wnid}_art_0.jpg"] == images[wnid, "art_0.JPEG"]
    assert verify(folders / "shards", decode=True).ok and verify(folders).ok
    for name in ("webdataset", "threaded"):
        loader = open_loader(name, LoaderSpec(root=folders, batch_size=10, image_size=32))
        labels = [
            (i, y) for batch in loader for i, y in zip(batch.indexes.tolist(), batch.labels.tolist(), strict=True)
        ]
        loader.close()
        assert sorted(labels) == [(index, index // 21) for index in range(84)]


def test_a_set_of_plain_names_keeps_its_keys(root: Path, tmp_path: Path) -> None:
    """Byte for byte: the samples are returned as they were given."""
    found = find_samples(root)

    for samples in found.splits.values():
        assert with_keys(samples, found.classes) == samples
    said: list[str] = []
    write_shards(root, ShardSpec(seed=3), out=tmp_path / "again", notice=said.append)
    assert said == []
    for path in (root / "shards").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_only_names_that_are_shared_get_their_class() -> None:
    """Whatever the order; two of one class, or one that looks like the other's new key, end with a checksum."""
    assert keys_of([(0, "a.jpg"), (1, "a.jpg"), (1, "b.jpg")]) == ["art_a", "big%20cats_a", "b"]
    assert keys_of([(1, "a.jpg"), (1, "b.jpg"), (0, "a.jpg")]) == ["big%20cats_a", "b", "art_a"]
    twins = keys_of([(0, "a.jpg"), (0, "a.png")])
    assert len(set(twins)) == 2 and all(key.startswith("art_a-") and len(key) == len("art_a-") + 16 for key in twins)
    keys = keys_of([(0, "a.jpg"), (1, "a.jpg"), (0, "art_a.jpg")])
    assert keys[2] == "art_a" and keys[0].startswith("art_a-") and keys[1] == "big%20cats_a"


def test_the_same_name_twice_in_a_class_is_refused() -> None:
    """That is one image in two sources, not a shared name."""
    with pytest.raises(DatasetError, match="have the same key"):
        keys_of([(0, "a.jpg"), (0, "a.jpg")])


def test_listed_images_get_their_folders() -> None:
    """The stem if it is unique, else the folders and the stem, else a checksum; whatever the order."""
    names = [
        (0, "photos/2021/cat 1.jpg"),
        (0, "photos/2022/cat 1.png"),
        (1, "photos/2022/dog.jpg"),
        (0, "a_b/c.jpg"),
        (0, "a/b_c.jpg"),
        (0, "x/c.jpg"),
        (0, "y/a_b_c.jpg"),
        (1, "d\udce9j\u00e0/vu/b_c.jpg"),
        (1, "/".join(["long folder"] * 20) + "/dog.webp"),
        (1, "\ud800/cat 1.jpg"),
    ]
    keys = dict(zip(names, keys_of(names), strict=True))

    assert list(keys.values())[:2] == ["photos_2021_cat%201", "photos_2022_cat%201"]
    assert keys[names[2]] == "photos_2022_dog"
    assert keys[names[3]].startswith("a_b_c-") and keys[names[4]] == "a_b_c-" + keys[names[4]][-16:]
    assert (keys[names[5]], keys[names[6]], keys[names[7]]) == ("x_c", "a_b_c", "d%E9j%C3%A0_vu_b_c")
    assert len(keys[names[8]]) == MAX_KEY and keys[names[8]].startswith("long%20folder_long%20folder_")
    assert keys[names[9]] == "%ED%A0%80_cat%201"
    assert len(set(keys.values())) == len(names)
    assert keys == dict(zip(reversed(names), keys_of(names[::-1]), strict=True))


SHARED = ["a", "b c", "art_a", "x/a", "x/y/a", "x_y/a", "_/_a", "_/a"]
names = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=120)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.one_of(names, st.sampled_from(SHARED)),
        ),
        unique=True,
    )
)
def test_keys_are_unique_and_fit_every_reader(stems: list[tuple[int, str]]) -> None:
    """For any names, in any order."""
    given_names = [(label, stem + ".jpg") for label, stem in stems]
    keys = keys_of(given_names)

    assert len(set(keys)) == len(keys)
    for key in keys:
        assert key.isascii() and key.isprintable() and not {".", " ", "/"} & set(key)
        assert 0 < len(key) <= 95 and not key.startswith("__")
    assert dict(zip(given_names, keys, strict=True)) == dict(
        zip(given_names[::-1], keys_of(given_names[::-1]), strict=True)
    )
    for (_, stem), key in zip(stems, keys, strict=True):
        own = stem.rpartition("/")[2]
        if "%" not in stem and stem.isascii() and len(key) < 95 and "-" not in key[-17:]:
            assert unquote(key).endswith(own)
