"""The comparison on images without tiles, by size, from which the limit of the compiled decoder follows."""

from feedline.benchmarks.claims.whole_images import IMAGES, compare, table


def test_small_images_are_compiled_and_large_ones_are_not() -> None:
    small, large = compare((64, 48), "train", 1), compare((1600, 1200), "eval", 1)

    assert (small.taken, large.taken) == (IMAGES, 0)
    text = table([small, large])
    assert "| 64 x 48 | train | " in text
    assert "| 1600 x 1200 | eval | " in text and text.endswith("| not taken | |")
