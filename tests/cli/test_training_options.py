"""Options of ``feedline train`` that mean nothing with the others are refused, not ignored."""

import pytest

from feedline.cli.main import run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ema-steps", "4"], "--ema-steps means nothing without --ema; add it, or leave --ema-steps out"),
        (["--ema-start", "0.5"], "--ema-start means nothing without --ema;"),
        (["--distill-weight", "0.3"], "--distill-weight means nothing without --teacher;"),
        (["--distill-temperature", "2"], "--distill-temperature means nothing without --teacher;"),
        (["--size-ramp", "0.1", "0.2"], "--size-ramp means nothing without --size-from;"),
        (["--mix-switch", "0.2"], "--mix-switch means nothing without --mixup or --cutmix;"),
        (["--mix-mode", "sample", "--mixup", "0"], "--mix-mode means nothing without --mixup or --cutmix;"),
        (["--recipe", "tiny-64-plain", "--ema-steps", "4"], "--ema-steps means nothing without --ema;"),
    ],
)
def test_an_option_that_changes_nothing_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As wrong usage, with the option that it belongs to."""
    assert run(["train", "data", "--device", "cpu", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_a_recipe_has_may_be_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    """Then its further settings mean nothing, and the user did not give them."""
    words = ["train", "nowhere", "--recipe", "ffcv-rn18-16", "--device", "cpu", "--size-from", "160", "--dry-run"]
    assert run([*words, "--mixup", "0"]) == 1
    assert "nowhere" in capsys.readouterr().err
