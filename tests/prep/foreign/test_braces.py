"""Brace patterns mean what bash makes of them."""

import pytest
from braceexpand import braceexpand  # type: ignore[import-untyped]
from hypothesis import given, strategies as st

from feedline.prep import SourceError
from feedline.prep.foreign.braces import expand_braces


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("x.tar", ["x.tar"]),
        ("x-{0..2}.tar", ["x-0.tar", "x-1.tar", "x-2.tar"]),
        ("{000008..000010}", ["000008", "000009", "000010"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{8..010}", ["008", "009", "010"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{0..6..3}", ["0", "3", "6"]),
        ("{a..c}", ["a", "b", "c"]),
        ("{train,val}-{00..01}.tar", ["train-00.tar", "train-01.tar", "val-00.tar", "val-01.tar"]),
        ("{a,b{1,2}}", ["a", "b1", "b2"]),
        ("{train-{0..1},val-0}.tar", ["train-0.tar", "train-1.tar", "val-0.tar"]),
        ("x{,.bak}", ["x", "x.bak"]),
        ("{x}.tar", ["{x}.tar"]),
        ("{.tar", ["{.tar"]),
        ("}{0..1}", ["}0", "}1"]),
        ("{{0..1}}", ["{0}", "{1}"]),
        ("{0..a}", ["{0..a}"]),
        ("", [""]),
    ],
)
def test_a_pattern_is_expanded_as_by_bash(pattern: str, names: list[str]) -> None:
    """Numbers with and without zeros, lists, braces in braces; other braces stay."""
    assert expand_braces(pattern) == names


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["a", "train", "-", "."]),
            st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 4)).map(
                lambda ends: f"{{{ends[0]:0{ends[2]}d}..{ends[1]:0{ends[2]}d}}}"
            ),
            st.lists(st.sampled_from(["x", "val", "{0..2}", "{p,q}"]), min_size=2, max_size=3).map(
                lambda parts: "{" + ",".join(parts) + "}"
            ),
        ),
        max_size=3,
    ).map("".join)
)
def test_patterns_mean_what_they_mean_to_webdataset(pattern: str) -> None:
    """webdataset expands them with the library braceexpand."""
    assert expand_braces(pattern) == list(braceexpand(pattern))


@given(st.text("{},.0a9", max_size=12))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    """Nothing but a SourceError."""
    try:
        assert expand_braces(text)
    except SourceError as error:
        assert "stands for more than" in str(error)


def test_a_pattern_of_too_many_names_is_refused() -> None:
    """At once, without a list of them."""
    with pytest.raises(SourceError, match="stands for more than 1000000 shards"):
        expand_braces("{0..999999999999}-{0..9}")
