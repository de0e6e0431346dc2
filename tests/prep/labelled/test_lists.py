"""Label lists meet their images: by any way of writing a path; contradictions are one sentence with the line."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from feedline.prep import SourceError
from feedline.prep.labelled.images import LabelledImage, LabelledSource
from feedline.prep.labelled.lists import ListOptions, listed_sources
from feedline.prep.sources.reader import Reader

IMAGE = b"\xff\xd8\xff\xe0 no lister decodes it \xff\xd9"


def make(folder: Path, *names: str) -> Path:
    """Write small files under these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(IMAGE)
    return folder


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def images_of(sources: list[LabelledSource]) -> list[LabelledImage]:
    with Reader() as reader:
        return [image for source in sources for image in source.images(reader)]


def labels(source: Path | list[Path], *lists: Path, **options: Any) -> dict[str, str]:
    """Return {name: label} of what the lists say of the sources."""
    extra = {key: options.pop(key) for key in ("split_from", "skip", "notice") if key in options}
    sources = source if isinstance(source, list) else [source]
    found = images_of(listed_sources(sources, lists, ListOptions(**options), **extra))
    return {image.name: image.label for image in found}


CATS = {"a.jpg": "cat", "sub/b.png": "dog"}


@pytest.mark.parametrize(
    "rows",
    [
        "file_name,label\na.jpg,cat\nsub/b.png,dog\n",
        "id,breed\na,cat\nb,dog\n",
        "Image;Class\na.jpg;cat\nb.png;dog\n",
        "path|target\nphotos/a.jpg|cat\nphotos/sub/b.png|dog\n",
        "filename\tspecies\n.\\a.jpg\tcat\nsub\\b.png\tdog\n",
        "a.jpg,cat\nsub/b.png,dog\n",
        "a,cat\nsub/b,dog\n",
        "sub/../a.jpg cat\n./sub/b.png dog\n",
        "row,image,label\n1,a.jpg,cat\n2,b.png,dog\n",
        "image_id,file,label\n7,a.jpg,cat\n8,b.png,dog\n",
        '{"file_name": "a.jpg", "label": "cat"}\n{"file_name": "sub/b.png", "label": "dog"}\n',
        '[{"image": "a.jpg", "category": "cat"}, {"image": "b", "category": "dog"}]',
    ],
    ids=range(12),
)
@pytest.mark.parametrize("place", [".", "photos", "lists"])
def test_paths_are_understood(tmp_path: Path, rows: str, place: str) -> None:
    """Relative to the list, to the source or bare; with extension or without; the list may lie anywhere."""
    photos = make(tmp_path / "photos", *CATS)
    (tmp_path / place).mkdir(exist_ok=True)
    assert labels(photos, write(tmp_path / place / "labels.csv", rows)) == CATS


def packed(source: Path, kind: str) -> Path:
    """Return an archive of a folder."""
    archive = source.parent / f"images.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for path in sorted(source.rglob("*.*")):
                zipped.write(path, path.relative_to(source).as_posix())
    else:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as tar:
            for path in sorted(source.rglob("*.*")):
                tar.add(path, path.relative_to(source).as_posix())
    return archive


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_images_in_archives(tmp_path: Path, kind: str) -> None:
    """The bytes are those of the images, in the order of the archive."""
    photos = make(tmp_path / "photos", *CATS, "c.jpg", "__MACOSX/a.jpg", "notes.txt")
    (photos / "sub" / "b.png").write_bytes(IMAGE + b"b")
    archive = packed(photos, kind)
    rows = write(tmp_path / "labels.csv", "id,label,weight\nb,dog,2\na,cat,1.5\n")
    [source] = listed_sources([archive], [rows])
    with Reader() as reader:
        found = {
            image.name: (image.data if isinstance(image.data, bytes) else reader.read(image.data, image.size), image)
            for image in source.images(reader)
        }
    assert {name: data for name, (data, _) in found.items()} == {"a.jpg": IMAGE, "sub/b.png": IMAGE + b"b"}
    assert [image.columns for _, image in found.values()] == [{"weight": 1.5}, {"weight": 2}]
    assert source.left_out[0] == "1 image without a row in the list"
    assert any("1 .txt" in kind for kind in source.left_out)
    assert source.streamed == (kind == "tar.gz")


def test_several_lists_and_sources(tmp_path: Path) -> None:
    """One list for each split, as Hugging Face lays image folders out: the same names, each beside its images."""
    make(tmp_path / "train", "1.jpg", "2.jpg")
    make(tmp_path / "test", "1.jpg")
    lists = [
        write(tmp_path / "train" / "metadata.csv", "file_name,label,size\n1.jpg,cat,10\n2.jpg,dog,\n"),
        write(tmp_path / "test" / "metadata.jsonl", '{"file_name": "1.jpg", "label": "dog", "box": [1, 2]}\n'),
    ]
    for sources in ([tmp_path], [tmp_path / "train", tmp_path / "test"]):
        found = images_of(listed_sources(sources, lists))
        assert sorted((image.split, image.label, dict(image.columns)) for image in found) == [
            ("test", "dog", {"box": [1, 2]}),
            ("train", "cat", {"size": 10}),
            ("train", "dog", {"size": None}),
        ]


@pytest.mark.parametrize("value", ["val", "Validation", "2"])
def test_a_split_column(tmp_path: Path, value: str) -> None:
    """Its values have the spellings of folders, and what is not known is asked about."""
    photos = make(tmp_path / "photos", *CATS)
    rows = write(tmp_path / "labels.csv", f"file,label,split\na.jpg,cat,train\nb.png,dog,{value}\n")
    if value == "2":
        with pytest.raises(SourceError, match=r"line 3, has '2' in 'split'.*--split-from \"2=SPLIT\""):
            labels(photos, rows)
    sources = listed_sources([photos], [rows], split_from={"2": "val"} if value == "2" else None)
    assert {image.label: image.split for image in images_of(sources)} == {"cat": "train", "dog": "val"}
    assert not any(image.columns for image in images_of(sources))


def test_a_set_that_is_no_split_is_a_column(tmp_path: Path) -> None:
    """Only names of splits make a column of sets one of splits."""
    photos = make(tmp_path / "photos", *CATS)
    rows = write(tmp_path / "labels.csv", "file,label,set\na.jpg,cat,alpha\nb.png,dog,beta\n")
    found = images_of(listed_sources([photos], [rows]))
    assert {image.split: image.columns for image in found} == {"": {"set": "beta"}}


def test_splits_come_from_folders_or_the_name_of_the_list(tmp_path: Path) -> None:
    """A folder that says none next to one that does is asked about."""
    photos = make(tmp_path / "photos", "train/a.jpg", "valid/b.jpg", "more/c.jpg")
    rows = write(tmp_path / "all.csv", "file,label\na,cat\nb,dog\n")
    assert {image.label: image.split for image in images_of(listed_sources([photos], [rows]))} == {
        "cat": "train",
        "dog": "val",
    }
    rows = write(tmp_path / "all.csv", "file,label\na,cat\nb,dog\nc,dog\n")
    with pytest.raises(SourceError, match=r'the split of more/c.jpg.*--split-from "more=SPLIT"'):
        labels(photos, rows)
    sources = listed_sources([photos], [rows], split_from={"more": "train"})
    assert sorted(image.split for image in images_of(sources)) == ["train", "train", "val"]
    with pytest.raises(SourceError, match="is named 'nope'"):
        labels(photos, rows, split_from={"more": "train", "nope": "val"})
    flat = make(tmp_path / "flat", "x.jpg", "y.jpg")
    rows = write(tmp_path / "val_labels.csv", "file,label\nx,cat\ny,dog\n")
    assert {image.split for image in images_of(listed_sources([flat], [rows]))} == {"val"}


def test_further_columns_are_kept(tmp_path: Path) -> None:
    """A column of a CSV is numbers only if all its values are; JSON keeps its types; empty is null."""
    photos = make(tmp_path / "photos", *CATS)
    rows = write(
        tmp_path / "labels.csv",
        "file,breed,label,age,zip,note,score,big\n"
        "a.jpg,cat,x,3,01234,,-1.5e3,12345678901234567890\n"
        "b.png,dog,y,,99999,n/a,2,1\n",
    )
    found = {
        image.label: image.columns
        for image in images_of(listed_sources([photos], [rows], ListOptions(label_column="breed")))
    }
    assert found == {
        "cat": {"label_": "x", "age": 3, "zip": "01234", "note": None, "score": -1500.0, "big": "12345678901234567890"},
        "dog": {"label_": "y", "age": None, "zip": "99999", "note": "n/a", "score": 2, "big": "1"},
    }
    objects = [
        {"file": "a.jpg", "label": "cat", "box": [[1, 2.5]], "n": "007"},
        {"file": "b.png", "label": "dog", "late": {"x": None}},
    ]
    rows = write(tmp_path / "labels.jsonl", "\n".join(map(json.dumps, objects)))
    found = {image.label: image.columns for image in images_of(listed_sources([photos], [rows]))}
    assert found == {"cat": {"box": [[1, 2.5]], "n": "007"}, "dog": {"late": {"x": None}}}


def test_numbered_classes_keep_their_order(tmp_path: Path) -> None:
    """10 comes after 9; names are in the order of text."""
    photos = make(tmp_path / "photos", *(f"{number}.jpg" for number in range(12)))
    rows = write(
        tmp_path / "labels.csv", "id,label\n" + "".join(f"{number},{number}\n" for number in range(11, -1, -1))
    )
    [source] = listed_sources([photos], [rows])
    assert source.class_ids == tuple(map(str, range(12)))
    rows = write(tmp_path / "labels.csv", "id,label\n" + "".join(f"{number},c{number}\n" for number in range(12)))
    assert listed_sources([photos], [rows])[0].class_ids == ()


def test_labels_of_json_may_be_numbers(tmp_path: Path) -> None:
    """Their digits are the class ids; ids of files may be numbers too."""
    photos = make(tmp_path / "photos", "1.jpg", "2.jpg")
    rows = write(tmp_path / "l.jsonl", '{"id": 1, "label": 0}\n{"id": 2, "label": true}\n')
    assert labels(photos, rows) == {"1.jpg": "0", "2.jpg": "true"}


def test_test_images_may_have_no_label(tmp_path: Path) -> None:
    """All of them, or none."""
    photos = make(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    rows = write(tmp_path / "labels.csv", "file,label,split\na,cat,train\nb,,test\nc,,test\n")
    assert {image.name: (image.split, image.label) for image in images_of(listed_sources([photos], [rows]))} == {
        "a.jpg": ("train", "cat"),
        "b.jpg": ("test", ""),
        "c.jpg": ("test", ""),
    }
    write(rows, "file,label,split\na,cat,train\nb,,test\nc,cat,test\n")
    with pytest.raises(SourceError, match="label all of them or none"):
        labels(photos, rows)


def test_duplicates_count_once(tmp_path: Path) -> None:
    """If they agree, however they spell the path."""
    photos = make(tmp_path / "photos", *CATS)
    rows = write(tmp_path / "l.csv", "file,label\na.jpg,cat\na.jpg,cat\n./a.jpg,cat\nb.png,dog\nsub/b.png,dog\nb,dog\n")
    said: list[str] = []
    assert labels(photos, rows, notice=said.append) == CATS
    assert any("4 rows repeat another one" in line for line in said)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file,label\na.jpg,cat\na.jpg,dog\n", r"line 3, labels 'a.jpg' as 'dog', and line 2 as 'cat'"),
        ("file,label\na.jpg,cat\na,dog\n", r"line 3, labels 'a' as 'dog', and line 2 as 'cat'"),
        ("file,label,x\na.jpg,cat,1\na.jpg,cat,2\n", r"line 3, names 'a.jpg' again, with other values"),
        ("file,label,split\na.jpg,cat,train\na.jpg,cat,val\n", r"line 3, names 'a.jpg' for another split"),
        ("file,label\na.jpg,cat\nx.jpg,dog\ny.jpg,dog\n", r"line 3, names 'x.jpg'.*\(2 rows of 3.*--skip-missing"),
        ("file,label\nx.jpg,cat\ny.jpg,dog\n", r"no row of .* names an image.*'x.jpg', and the first image is 'a.jpg'"),
        ("file,label\na.jpg,\nb.png,cat\n", r"line 2, has no label for 'a.jpg'"),
        ("file,label\n,cat\nb.png,cat\n", r"line 2, has nothing in 'file'"),
        ("file,label\nhttps://x.org/a.jpg,cat\n", "download them first"),
        ("file,size,colour\na.jpg,1,red\n", r"--file-column file --label-column C"),
        ("file,class,species\na.jpg,1,red\n", r"columns file, class, species; say which holds the labels"),
        ("image,path,label\na.jpg,a.jpg,cat\n", r"say which holds the files: --file-column C --label-column label"),
        ("file,label\na.jpg,cat|dog\nb.png,cat\nc.png,dog\n", r"line 2, has the label 'cat|dog'.*several classes"),
        ('{"file": "a.jpg", "label": ["cat", "dog"]}\n', r"several classes; each image needs a single class"),
        ('{"file": "a.jpg", "label": {"x": 1}}\n', "several classes"),
        ('{"file": ["a.jpg"], "label": "x"}\n', r"has \['a.jpg'\] in 'file'"),
        ('{"file": "a.jpg", "label": "x\\ny"}\n', "which is no class"),
        ('{"file": "a.jpg", "label": "x", "y": Infinity}\n', "a value that JSON does not have"),
    ],
)
def test_bad_lists_are_one_sentence(tmp_path: Path, rows: str, message: str) -> None:
    """With the line, the value and what to do."""
    photos = make(tmp_path / "photos", *CATS)
    with pytest.raises(SourceError, match=message) as raised:
        labels(photos, write(tmp_path / "labels.csv", rows))
    assert "\n" not in str(raised.value)


def test_missing_images_are_left_out_on_request(tmp_path: Path) -> None:
    """And counted."""
    photos = make(tmp_path / "photos", *CATS)
    rows = write(tmp_path / "labels.csv", "file,label\na.jpg,cat\nx.jpg,cat\nb.png,dog\n")
    said: list[str] = []
    assert labels(photos, rows, skip_missing=True, notice=said.append) == CATS
    assert any(line.startswith("left out: 1 row of 3 that name missing images, the first 'x.jpg'") for line in said)


def test_a_bare_name_of_two_images_is_refused(tmp_path: Path) -> None:
    """And an exact path takes precedence over a bare one."""
    photos = make(tmp_path / "photos", "x/1.jpg", "y/1.jpg")
    rows = write(tmp_path / "labels.csv", "file,label\n1.jpg,cat\n")
    with pytest.raises(SourceError, match=r"names '1.jpg', which is in .* twice: ./1.jpg and ./1.jpg"):
        labels(photos, rows)
    assert labels(photos / "y", rows) == {"1.jpg": "cat"}
    make(photos, "1.jpg")
    assert labels(photos, rows) == {"1.jpg": "cat"}


def test_composed_and_decomposed_names_are_one(tmp_path: Path) -> None:
    """macOS decomposes the names of files, and lists are written composed."""
    photos = make(tmp_path / "photos", "Hu\u0308ndin.jpg")
    assert len(labels(photos, write(tmp_path / "l.csv", "file,label\nH\u00fcndin.jpg,dog\n"))) == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda path: path / "nowhere", "does not exist"),
        (lambda path: make(path / "empty", "notes.txt"), "holds no image"),
        (lambda path: write(path / "x.zip", ""), "is empty"),
        (lambda path: make(path, "x.jpg") / "x.jpg", "is one image"),
        (lambda path: write(path / "x.tar", "no tar at all"), "no tar header|truncated"),
    ],
)
def test_bad_sources_are_named(tmp_path: Path, build: Callable[[Path], Path], message: str) -> None:
    """With what is wrong."""
    with pytest.raises(SourceError, match=message):
        labels(build(tmp_path), write(tmp_path / "labels.csv", "file,label\na.jpg,cat\n"))


def test_a_hostile_archive_leads_nowhere(tmp_path: Path) -> None:
    """A path out of the archive is refused when it is listed."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in ("a.jpg", "../b.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(IMAGE)
            tar.addfile(info, io.BytesIO(IMAGE))
    (tmp_path / "x.tar").write_bytes(data.getvalue())
    with pytest.raises(SourceError, match=r"the path '\.\./b\.jpg', which is refused"):
        labels(tmp_path / "x.tar", write(tmp_path / "labels.csv", "file,label\na.jpg,cat\n"))


VALUE = st.sampled_from(["a.jpg", "b.png", "a", "sub/b", "cat", "dog", "", "train", "9", "x|y", "\ud800", "label", "é"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    st.lists(st.dictionaries(st.sampled_from(["file", "label", "split", "x", "id"]), VALUE | st.integers(), max_size=4))
)
def test_any_objects_are_images_or_one_error(tmp_path: Path, objects: list[dict[str, Any]]) -> None:
    """Never another exception; every image has a class and a path of the source."""
    photos = make(tmp_path / "photos", *CATS)
    rows = write(tmp_path / "labels.jsonl", "\n".join(map(json.dumps, objects)))
    try:
        found = images_of(listed_sources([photos], [rows]))
    except SourceError:
        return
    assert {image.name for image in found} <= set(CATS)
    assert all(image.label or image.split == "test" for image in found)
