"""Recipe files: what is read, what is refused, what a run makes of one, and what the commands print."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from feedline.cli.main import cli
from feedline.cli.recipes import cells
from feedline.prep import TrainingError
from feedline.train import TrainConfig, read_recipe, recipe_config, recipe_names
from feedline.train.recipes.reading import MOST_BYTES

TOP = Path(__file__).resolve().parents[3]
NAMES = recipe_names()
LEAST = "[settings]\ntotal_batch_size = 64\n"


def own(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.toml"
    path.write_bytes(text.encode())
    return str(path)


def config_of(name: str, **changes: object) -> TrainConfig:
    return recipe_config(read_recipe(name), root=Path("data"), out=Path("run"), **{"device": "cpu", **changes})


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_states_its_source_its_figure_and_what_is_checked(name: str) -> None:
    recipe = read_recipe(name)

    assert recipe.source is not None and recipe.source.files and recipe.source.paper
    assert recipe.published is not None and 60 < recipe.published.top1 < 85
    assert "runs" in recipe.verified and "rates" in recipe.verified
    assert f"top-1 on {'Tiny-ImageNet' if 'tiny' in name else 'ImageNet'}" in recipe.unverified
    assert recipe.differences and all(sentence.endswith(".") for sentence in recipe.differences)
    assert recipe.sha256 == hashlib.sha256((TOP / "train" / "recipes" / f"{name}.toml").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("depth", "minutes", "top1"),
    [
        (18, [35.0, 51.6, 68.9, 85.5, 119.4, 187.3], [66.9, 68.8, 70.0, 70.6, 71.3, 72.4]),
        (50, [14.9, 21.7, 28.7, 35.6, 49.4, 77.2], [73.8, 75.6, 76.6, 77.2, 78.0, 78.4]),
    ],
)
def test_the_figures_of_ffcv_are_those_of_its_table(depth: int, minutes: list[float], top1: list[float]) -> None:
    """README.md of libffcv/ffcv-imagenet. Its files differ in the epochs and the ramp of the image size only."""
    found = [read_recipe(f"ffcv-rn{depth}-{epochs}") for epochs in (16, 24, 32, 40, 56, 88)]

    assert [recipe.published.top1 for recipe in found if recipe.published] == top1
    assert [recipe.published.minutes for recipe in found if recipe.published] == minutes
    for recipe in found:
        changed = {key for key, value in recipe.settings.items() if value != found[0].settings[key]}
        assert changed <= {"epochs", "size_ramp", "warmup"}
        assert recipe.settings["warmup"] * recipe.settings["epochs"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[settings]\nepochs = 3\n", "does not say total_batch_size"),
        (LEAST + "epoch = 3\n", "settings says 'epoch', which a recipe does not have; did you mean epochs?"),
        (LEAST + "[sorce]\n", "says 'sorce', which a recipe does not have; did you mean source?"),
        (LEAST + "[published]\ntop1 = 70.0\n", "has no data in [published]"),
        (LEAST + "[published]\ndata = 'x'\ntop_1 = 70.0\n", "published says 'top_1'"),
        (LEAST + "epochs = '3'\n", "epochs must be an integer, got '3'"),
        (LEAST + "epochs = true\n", "epochs must be an integer, got True"),
        (LEAST + "epochs = 2026-11-26\n", "epochs must be an integer"),
        (LEAST + "optimiser = 'adam'\n", "optimiser must be 'sgd', 'adamw' or 'lamb', got 'adam'"),
        (LEAST + "lr_rule = 'cubic'\n", "lr_rule must be 'linear' or 'sqrt'"),
        (LEAST + "batch_size = 3\n", "says 'batch_size', which a recipe cannot; give total_batch_size"),
        (LEAST + "root = '/'\n", "says 'root', which a recipe cannot"),
        ("[settings]\ntotal_batch_size = 0\n", "total_batch_size must be at least 1, got 0"),
        ("settings = 3\n", "settings is not a table"),
        ("", "has no table [settings]"),
        ("[settings\n", "is not a TOML file"),
        (LEAST + "x = " + "[" * 5000 + "]" * 5000, "is not a TOML file"),
        ("#" * (MOST_BYTES + 1), f"is larger than {MOST_BYTES} bytes"),
    ],
)
def test_a_file_that_is_no_recipe_is_named_with_the_next_step(text: str, words: str, tmp_path: Path) -> None:
    path = own(tmp_path, text)

    with pytest.raises(TrainingError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(path)
    assert words in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes('summary = "Größe"\n'.encode("latin-1") + LEAST.encode())

    with pytest.raises(TrainingError, match="is not a TOML file"):
        read_recipe(str(path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ffcv-rn18", r"there is no recipe 'ffcv-rn18'; did you mean ffcv-rn18-\d\d\?"),
        ("qqqq", "there is no recipe 'qqqq'; list them with: feedline recipes"),
        ("missing.toml", "cannot read the recipe missing.toml: No such file"),
    ],
)
def test_an_unknown_recipe_is_refused_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        read_recipe(name)


def test_a_value_out_of_range_is_refused_when_a_run_is_made(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="epochs must be at least 1, got 0"):
        config_of(own(tmp_path, LEAST + "epochs = 0\n"))


def test_a_copy_of_a_recipe_is_the_recipe(tmp_path: Path) -> None:
    """What `feedline recipes NAME` prints can be edited and used by its path, with the mark that some editors write."""
    printed = CliRunner().invoke(cli, ["recipes", "rsb-a2"]).output
    path = own(tmp_path, "\ufeff" + printed.replace("epochs = 300", "epochs = 30"))

    assert config_of(path).epochs == 30
    assert read_recipe(path).settings | {"epochs": 300} == read_recipe("rsb-a2").settings
    assert config_of(path).recipe.name == path


def test_ranks_share_the_batch_and_another_batch_scales_the_rate() -> None:
    """The rule is linear for SGD and the square root for LAMB; --lr is taken as it is."""
    assert config_of("ffcv-rn50-16", ranks=8).batch_size == 512
    assert config_of("ffcv-rn50-16", ranks=8).lr == 1.7
    assert config_of("ffcv-rn50-16", ranks=2, batch_size=512).lr == pytest.approx(1.7 / 4)
    assert config_of("rsb-a1", batch_size=512).lr == pytest.approx(5e-3 / 2)
    assert config_of("rsb-a1", batch_size=512, lr=1.0).lr == 1.0
    with pytest.raises(TrainingError, match="3 ranks cannot share the 1024 images of a step of torchvision-v2"):
        config_of("torchvision-v2", ranks=3)


def test_another_image_size_scales_the_sizes_that_belong_to_it() -> None:
    config = config_of("ffcv-rn18-16", image_size=96, eval_image_size=100)

    assert (config.size_from, config.image_size, config.eval_image_size, config.eval_resize) == (80, 96, 100, 146)


def test_another_optimiser_needs_its_own_rate() -> None:
    with pytest.raises(TrainingError, match="rsb-a1 is a recipe for lamb, not sgd; give --lr and --weight-decay"):
        config_of("rsb-a1", optimiser="sgd")
    assert config_of("rsb-a1", optimiser="sgd", lr=0.5, weight_decay=1e-4).lr == 0.5


def test_a_run_records_the_recipe_and_what_replaced_it() -> None:
    """Nothing that trains the same replaces: the recipe's own value, a default, what a default means, seed, workers."""
    use = config_of("tiny-64-cutmix", epochs=2, image_size=64, seed=3, workers=0, mixup=0.0, stem="small").recipe

    assert (use.name, use.sha256) == ("tiny-64-cutmix", read_recipe("tiny-64-cutmix").sha256)
    assert use.replaced == ("epochs",)


def test_what_a_recipe_does_not_say_is_replaced_too(tmp_path: Path) -> None:
    """Its value is the default. The recipe's batch is that of all ranks, and its rate that of the batch."""
    assert config_of("tiny-64-plain", mixup=0.2, interpolation="bicubic").recipe.replaced == ("interpolation", "mixup")
    assert config_of("ffcv-rn50-16", ranks=8, batch_size=512).recipe.replaced == ()
    assert config_of("ffcv-rn50-16", ranks=4, batch_size=512).recipe.replaced == ("batch_size",)
    assert config_of("ffcv-rn50-16", ranks=4, batch_size=512, lr=1.7).recipe.replaced == ("batch_size", "lr")
    assert config_of("ffcv-rn50-16", ranks=4, batch_size=512, lr=0.85).recipe.replaced == ("batch_size",)
    unsaid = own(tmp_path, "[settings]\ntotal_batch_size = 256\nimage_size = 224\n")
    assert config_of(unsaid, lr=0.1, weight_decay=1e-4, stem="imagenet").recipe.replaced == ()
    assert config_of(unsaid, lr=0.2, optimiser="adamw").recipe.replaced == ("lr", "optimiser")


def test_a_threshold_goes_with_the_loss_that_it_belongs_to() -> None:
    config = config_of("rsb-a3", loss="ce")

    assert config.bce_threshold is None
    assert config.recipe.replaced == ("bce_threshold", "loss")
    with pytest.raises(TrainingError, match="bce_threshold means nothing with loss 'ce'"):
        config_of("rsb-a3", loss="ce", bce_threshold=0.3)


def test_the_command_lists_every_recipe_with_its_figure() -> None:
    """In 79 columns, and as JSON with everything but the file's text."""
    result = CliRunner().invoke(cli, ["recipes", "--json"])
    rows = result.stderr.splitlines()[1 : len(NAMES) + 1]
    listed = json.loads(result.stdout)["recipes"]

    assert [row.split()[0] for row in rows] == list(NAMES) == [recipe["name"] for recipe in listed]
    assert max(map(len, rows)) <= 80
    assert "…" not in "".join(rows)
    assert "66.9" in rows[0] and "1 A100, 35 min" in rows[0]
    assert listed[0]["published"]["top1"] == 66.9 and "text" not in listed[0]


def test_the_command_prints_the_file_of_one_recipe() -> None:
    result = CliRunner().invoke(cli, ["recipes", "tiny-64-plain"])

    assert result.stdout == (TOP / "train" / "recipes" / "tiny-64-plain.toml").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_has_a_row_for_every_recipe(name: str) -> None:
    """docs/training.md, with the columns of what is verified and what is not."""
    recipe = read_recipe(name)
    _, model, epochs, size, top1, place, _ = cells(recipe)
    shown = f"{model}, {epochs} epochs, {size} px"
    row = f"| `{name}` | {shown} | {top1} | {place} | {', '.join(recipe.verified)} | {', '.join(recipe.unverified)} |"

    assert row in (TOP / "docs" / "training.md").read_text("utf-8").splitlines()
