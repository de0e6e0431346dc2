"""`feedline evaluate`: its figures are those of a plain torch loop, whichever loader reads the images."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from click.testing import CliRunner
from PIL import Image
from torch.nn import functional
from torchvision.transforms.v2.functional import center_crop, normalize, resize, to_dtype, to_image

from feedline.cli.main import cli, run as feedline
from feedline.loaders import LoaderSpec, readable_loaders
from feedline.prep import OutputError, TrainingError, list_samples, read_manifest, write_document
from feedline.train import EvaluateConfig, TrainConfig, evaluate, export_weights, train
from feedline.train.checkpoint import read_checkpoint

SIZE = 32


@pytest.fixture(scope="module")
def checkpoint(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of one epoch at 32 px."""
    out = tmp_path_factory.mktemp("evaluate") / "run"
    size = {
        "loader": "imagefolder",
        "workers": 0,
        "epochs": 1,
        "batch_size": 16,
        "image_size": SIZE,
        "stem": "imagenet",
    }
    return train(TrainConfig(root=root, out=out, device="cpu", **size)).checkpoint


def plain_scores(checkpoint: Path, root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores and labels of val as a script of Pillow, torch and torchvision gets them."""
    samples = list_samples(root, read_manifest(root), "val")
    images = []
    for sample in samples:
        with Image.open(sample.path) as image:
            pixels = to_image(image.convert("RGB"))
        pixels = center_crop(resize(pixels, [round(SIZE * 256 / 224)], antialias=True), [SIZE])
        images.append(
            normalize(to_dtype(pixels, torch.float32, scale=True), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        )
    model = torchvision.models.resnet18(num_classes=len(read_manifest(root).classes))
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    model.eval()
    with torch.no_grad():
        return model(torch.stack(images)), torch.tensor([sample.label for sample in samples])


def test_the_figures_are_those_of_a_plain_torch_loop(checkpoint: Path, root: Path) -> None:
    """Top-1, top-5, loss, each class and each confusion, recomputed from the files."""
    found = evaluate(checkpoint, EvaluateConfig(root=root, loader="imagefolder", batch_size=7, device="cpu"))
    scores, labels = plain_scores(checkpoint, root)
    best = scores.argmax(1)

    assert found.images == len(labels)
    assert found.top1 == pytest.approx((best == labels).double().mean().item())
    assert found.top5 == 1  # of four classes
    assert found.loss == pytest.approx(functional.cross_entropy(scores, labels).item(), rel=0.01)
    for label, entry in enumerate(found.classes):
        mine = labels == label
        assert entry.images == mine.sum()
        assert entry.top1 == pytest.approx((best[mine] == label).double().mean().item())
    pairs = {
        (truth, taken): int(((labels == truth) & (best == taken)).sum())
        for truth in range(4)
        for taken in range(4)
        if truth != taken
    }
    wnids = [entry.id for entry in found.classes]
    counted = {(wnids.index(c.truth.id), wnids.index(c.taken_for.id)): c.images for c in found.confusions}
    assert counted == dict(sorted((pair for pair in pairs.items() if pair[1]), key=lambda pair: -pair[1])[:10])
    assert all(c.share == c.images / found.classes[wnids.index(c.truth.id)].images for c in found.confusions)


def test_a_process_of_torchrun_evaluates_the_whole_split(
    checkpoint: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spec without a rank would take that of the process, and the figures would be those of its share."""
    config = EvaluateConfig(root=root, loader="imagefolder", batch_size=7, device="cpu")
    alone = evaluate(checkpoint, config)
    for name, value in (("TORCHELASTIC_RUN_ID", "run"), ("RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert LoaderSpec(root=root).world_size == 2
    found = evaluate(checkpoint, config)

    assert (found.images, found.top1, found.loss) == (alone.images, alone.top1, alone.loss)


def test_it_repeats_what_training_reported(checkpoint: Path, root: Path) -> None:
    """The last epoch's val metrics and an evaluation of its checkpoint are the same figures."""
    reported = read_checkpoint(checkpoint).about.history[-1].val
    found = evaluate(checkpoint, EvaluateConfig(root=root, loader="imagefolder", device="cpu"))
    assert reported is not None
    assert (found.top1, found.top5) == (reported.top1, reported.top5)
    assert found.loss == pytest.approx(reported.loss, rel=1e-5)


def test_every_loader_finds_the_same(checkpoint: Path, root: Path) -> None:
    """Class folders or shards, any batch size: the same verdicts, because each sample counts once."""
    config = EvaluateConfig(root=root, loader="imagefolder", device="cpu")
    expected = evaluate(checkpoint, config)
    for name in readable_loaders(root):
        if name == "cached":
            continue
        found = evaluate(checkpoint, replace(config, loader=name, batch_size=13))
        assert found.images == expected.images
        assert found.top1 == pytest.approx(expected.top1, abs=1 / expected.images), name
        assert found.loss == pytest.approx(expected.loss, rel=0.02), name


def test_json_has_the_documented_keys(checkpoint: Path, root: Path) -> None:
    """Programs read stdout: one object; people read stderr."""
    arguments = [str(checkpoint), str(root), "--workers", "0", "--device", "cpu", "--split", "train", "--json"]
    result = CliRunner().invoke(cli, ["evaluate", *arguments], catch_exceptions=False)
    printed = json.loads(result.stdout)
    assert result.exit_code == 0
    assert {"loss", "top1", "top5", "images", "images_per_second", "classes", "confusions"} <= printed.keys()
    assert (printed["images"], printed["split"], printed["epoch"]) == (84, "train", 1)
    assert printed["images_per_second"] > 0
    assert "top-1" in result.stderr


def test_hostile_class_names_reach_the_console_as_text(checkpoint: Path, root: Path, tmp_path: Path) -> None:
    """Markup and escape sequences in a manifest neither break the table nor reach the terminal."""
    manifest = read_manifest(root)
    named = tuple(replace(entry, name="[/bold]\x1b[2J") for entry in manifest.classes)
    shutil.copytree(root / "val", tmp_path / "data" / "val")
    write_document(tmp_path / "data" / "manifest.json", replace(manifest, classes=named))
    arguments = [str(checkpoint), str(tmp_path / "data"), "--workers", "0", "--device", "cpu"]
    result = CliRunner().invoke(cli, ["evaluate", *arguments], catch_exceptions=False)
    assert "\x1b[2J" not in result.stderr
    assert "[/bold]?[2J" in result.stderr


def test_exported_weights_load_into_plain_torchvision(checkpoint: Path, root: Path, tmp_path: Path) -> None:
    """--weights-out writes a state dict that torchvision's own model takes as it is."""
    out = tmp_path / "weights.pt"
    arguments = [str(checkpoint), str(root), "--workers", "0", "--device", "cpu", "--weights-out", str(out)]
    assert CliRunner().invoke(cli, ["evaluate", *arguments], catch_exceptions=False).exit_code == 0
    exported = torch.load(out, weights_only=True)
    torchvision.models.resnet18(num_classes=4).load_state_dict(exported)
    trained = torch.load(checkpoint, weights_only=True)["model"]
    assert exported.keys() == trained.keys()
    assert all(torch.equal(exported[name], trained[name]) for name in trained)
    with pytest.raises(OutputError, match=r"--weights-out"):
        export_weights(checkpoint, tmp_path / "nowhere" / "weights.pt")


def test_a_checkpoint_of_other_classes_is_refused(checkpoint: Path, root: Path, tmp_path: Path) -> None:
    """Scores of other classes mean nothing here: the sentence names both counts."""
    manifest = read_manifest(root)
    write_document(tmp_path / "manifest.json", replace(manifest, classes=manifest.classes[:3]))
    with pytest.raises(TrainingError, match=r"last\.pt was trained on 4 classes, and .* has 3"):
        evaluate(checkpoint, EvaluateConfig(root=tmp_path, loader="imagefolder", device="cpu"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--split", "test"], 1, "no labelled split 'test'; use --split with one of: train, val"),
        (["--loader", "cached"], 1, "does not yield every sample once"),
        (["--device", "nosuch"], 1, "'nosuch' is not available"),
        (["--batch-size", "0"], 2, "--batch-size"),
    ],
)
def test_a_wrong_option_ends_in_one_sentence(
    words: list[str], code: int, message: str, checkpoint: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 for data and environment, 2 for usage; nothing on stdout."""
    assert feedline(["evaluate", str(checkpoint), str(root), "--workers", "0", *words]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_the_calibration_error_is_that_of_the_definition(checkpoint: Path, root: Path) -> None:
    """Fifteen bins of the highest probability: the mean distance of probability and accuracy, by the bin's images."""
    scores, labels = plain_scores(checkpoint, root)
    probability, best = scores.double().softmax(1).max(1)
    error = 0.0
    for low in range(15):
        inside = (probability >= low / 15) & (probability < (low + 1) / 15 if low < 14 else probability <= 1)
        if inside.any():
            gap = probability[inside].mean() - (best == labels)[inside].double().mean()
            error += abs(gap.item()) * inside.double().mean().item()
    found = evaluate(checkpoint, EvaluateConfig(root=root, loader="imagefolder", device="cpu"))
    assert found.calibration_error == pytest.approx(error, abs=1e-4)
    assert found.real_top1 is None


def test_reassessed_labels_are_used_where_the_root_has_them(checkpoint: Path, root: Path, tmp_path: Path) -> None:
    """A prediction counts as right if it is one of the image's labels; images without a label do not count."""
    data = tmp_path / "data"
    shutil.copytree(root, data, ignore=shutil.ignore_patterns("shards"))
    names = [sample.path.name for sample in list_samples(data, read_manifest(data), "val")]
    numbers = [int(name.removeprefix("ILSVRC2012_val_").partition(".")[0]) for name in names]
    scores, labels = plain_scores(checkpoint, root)
    best = scores.argmax(1).tolist()
    real: list[list[int]] = [[] for _ in range(max(numbers))]
    for place, number in enumerate(numbers):
        if place % 3 == 0:
            real[number - 1] = [best[place], labels[place].item()]
        elif place % 3 == 1:
            real[number - 1] = [(best[place] + 1) % len(read_manifest(data).classes)]
    (data / "real.json").write_text(json.dumps(real))
    found = evaluate(checkpoint, EvaluateConfig(root=data, loader="imagefolder", device="cpu"))
    right, wrong = len(names[::3]), len(names[1::3])
    assert found.real_top1 == pytest.approx(right / (right + wrong))
    (data / "real.json").write_text("[[99]]")
    with pytest.raises(TrainingError, match=r"real\.json has the class 99, and .* has \d+ classes"):
        evaluate(checkpoint, EvaluateConfig(root=data, loader="imagefolder", device="cpu"))
    (data / "real.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"real\.json is not a list of lists"):
        evaluate(checkpoint, EvaluateConfig(root=data, loader="imagefolder", device="cpu"))
