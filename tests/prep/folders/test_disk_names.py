"""Names on the disk: any text, on any system, never two alike, and traceable."""

from hypothesis import given, strategies as st

from feedline.prep.base.names import is_plain_name
from feedline.prep.folders.disk_names import escaped, file_names, folded, folder_names, twins

NAMES = (
    st.text(min_size=1, max_size=12)
    | st.text("aA%/2F.é\u0301 ~_:", min_size=1, max_size=6)
    | st.text("ab中", min_size=90)
)


@given(NAMES)
def test_an_escaped_name_is_plain_on_every_system(name: str) -> None:
    assert is_plain_name(escaped(name))
    if is_plain_name(name) and len(name.encode()) < 200:
        assert escaped(name) == name


@given(st.lists(NAMES, unique=True, max_size=8))
def test_folders_of_different_classes_differ_on_every_disk(names: list[str]) -> None:
    folders = folder_names(names)
    assert len({folded(folder) for folder in folders.values()}) == len(names)
    assert all(map(is_plain_name, folders.values()))


@given(st.lists(NAMES, unique=True, max_size=8), st.randoms())
def test_files_of_a_class_differ_and_do_not_depend_on_the_order(paths: list[str], random) -> None:
    if twins(paths):
        return
    names = dict(zip(paths, file_names(paths), strict=True))
    assert len({folded(name) for name in names.values()}) == len(paths)
    random.shuffle(paths)
    assert dict(zip(paths, file_names(paths), strict=True)) == names


def test_names_tell_where_they_come_from() -> None:
    assert file_names(["2021/a.jpg", "2022/a.jpg"]) == ["2021_a.jpg", "2022_a.jpg"]
    assert escaped("a:b?.jpg") == "a%3Ab%3F.jpg" and escaped("con.png") == "%63on.png" and escaped("x. ") == "x%2E%20"
    assert escaped("100%/x") == "100%25%2Fx" and escaped("\udce9.jpg") == "%E9.jpg"
    assert folder_names(["animals/cat"]) == {"animals/cat": "animals%2Fcat"}
    clash = file_names(["2021/a.jpg", "2021_a.jpg"])
    assert clash[1] == "2021_a.jpg" and clash[0].startswith("2021_a~") and clash[0].endswith(".jpg")
