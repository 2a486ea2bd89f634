"""Tests of the training as a whole."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from backend.inference.models import artifact
from backend.inference.models.head import read_head
from calibration import apply
from calibration.apply import Calibration
from teach import background
from teach.errors import TeachCancelled, TeachError
from teach.train import train
from teach.types import Backbone, Example, TaughtModel
from tests.conftest import ROOT
from tests.teach.examples import BACKBONE, classes, embed, example, features, others


def teach(examples: list[Example], backbone: Backbone = BACKBONE) -> TaughtModel:
    return train(examples, embed, backbone, name="taught")


def test_separable_classes_are_learned_and_measured() -> None:
    model = teach(classes(["a", "b", "c"], 12))
    assert model.report.accuracy == 1
    assert 0.8 < model.report.interval.low < model.report.interval.high == 1
    np.testing.assert_array_equal(model.report.confusion, 12 * np.eye(3))
    assert model.report.suspects == ()
    tensors = load(model.head)
    image = features(1, 99)
    assert (tensors["weight"] @ image + tensors["bias"]).argmax() == 1


def test_mislabeled_image_is_the_first_suspect() -> None:
    examples = [*classes(["a", "b"], 10), example("a", 1, 50)]
    (suspect,) = teach(examples).report.suspects
    assert (suspect.index, suspect.name) == (20, "a/1-50.png")
    assert (suspect.label, suspect.prediction) == ("a", "b")
    assert suspect.probability < 0.2


def test_index_of_a_suspect_counts_unusable_files() -> None:
    bad = Example("a", b"no image", "a/bad.png")
    report = teach([bad, *classes(["a", "b"], 10), example("a", 1, 50)]).report
    assert report.suspects[0].index == 21
    assert report.unusable == ("a/bad.png",)


def test_folder_is_a_valid_model_folder(tmp_path: Path) -> None:
    manifest = json.loads((ROOT / "models" / "photos" / "manifest.json").read_text())
    backbone = replace(BACKBONE, preprocess=manifest["preprocess"])
    model = teach(classes(["a", "b", "None of these"], 5), backbone)
    model.write(tmp_path / "models" / "taught")
    read = artifact.read(tmp_path / "models" / "taught")
    assert read.manifest.labels == ("a", "b", "None of these")
    assert read.manifest.backbone is not None
    assert read.manifest.backbone.sha256 == BACKBONE.sha256
    assert read_head(read).centers is not None
    assert (tmp_path / "models" / "taught" / "README.md").read_text() == model.card
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["taught"]
    with pytest.raises(FileExistsError):
        model.write(tmp_path / "models" / "taught")


def test_other_images_exceed_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    known_others = others(60)
    monkeypatch.setattr(background, "load", lambda backbone: known_others[:40])
    model = teach(classes(["a", "b"], 15))
    assert model.report.ood_auroc is not None
    assert model.report.ood_auroc > 0.99
    calibration = Calibration.model_validate(model.manifest["calibration"])
    assert calibration.max_ood_score is not None
    tensors = load(model.head)
    new = np.stack([features(axis, seed) for axis in (0, 1) for seed in range(90, 110)])
    scores = [
        apply.ood_scores(rows @ tensors["weight"].T + tensors["bias"])
        if calibration.ood_method == "energy"
        else apply.feature_distances(rows, tensors["centers"])
        for rows in (new, known_others[40:])
    ]
    assert (scores[0] <= calibration.max_ood_score).mean() >= 0.95
    assert (scores[1] > calibration.max_ood_score).mean() >= 0.9


def test_too_few_images_for_a_promise_are_said_in_words() -> None:
    model = teach(classes(["a", "b"], 2))
    text = " ".join(model.report.warnings)
    assert "Fewer than 5 images: a, b" in text
    assert "too few images (4) for prediction sets with a coverage of 90% and 95% and 99%" in text
    assert "only known to be between" in text
    assert "could not be measured" in text
    card = model.card.replace("\\", "")
    assert all(warning in card for warning in model.report.warnings)
    assert model.report.mean_set_size == 2


def test_imbalance_is_said_in_words() -> None:
    warnings = teach([*classes(["a"], 60), example("b", 1, 0), example("b", 1, 1)]).report.warnings
    assert any("times as many images as b" in warning for warning in warnings)


def test_names_that_differ_only_in_case_are_said_in_words() -> None:
    warnings = teach(classes(["Ants", "bees", "ants"], 6)).report.warnings
    assert any("the same name: Ants and ants" in warning for warning in warnings)
    assert not any("same name" in each for each in teach(classes(["a", "b"], 6)).report.warnings)


def test_progress_grows_to_one() -> None:
    seen: list[tuple[str, float]] = []
    train(
        classes(["a", "b"], 5),
        embed,
        BACKBONE,
        name="taught",
        progress=lambda step, share: seen.append((step, share)),
    )
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {step for step, _ in seen} == {"Computing features", "Training"}


def test_cancelling_stops_during_the_training() -> None:
    steps: list[str] = []
    with pytest.raises(TeachCancelled):
        train(
            classes(["a", "b"], 5),
            embed,
            BACKBONE,
            name="taught",
            progress=lambda step, share: steps.append(step),
            is_cancelled=lambda: "Training" in steps,
        )
    assert steps.count("Training") == 1


@pytest.mark.parametrize("name", ["", "Ants", "a/b", "-a", "a" * 65, "a\n"])
def test_invalid_names_are_refused_before_any_work(name: str) -> None:
    with pytest.raises(TeachError, match="lower-case letters"):
        train(classes(["a", "b"], 2), embed, BACKBONE, name=name)


def test_card_shows_labels_as_they_are() -> None:
    model = teach(classes(["a|b", "<img src=x>", "[x](y)"], 4))
    assert "a\\|b" in model.card
    assert "<img" not in model.card.replace("\\<", "")
    assert "[x](y)" not in model.card


def test_background_belongs_to_the_shipped_backbone() -> None:
    manifest = json.loads((ROOT / "models" / "photos" / "manifest.json").read_text())
    sha256 = manifest["files"]["weights.safetensors"]
    features = background.load(replace(BACKBONE, sha256=sha256, dimensions=1280))
    assert len(features) > 300
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert background.load(BACKBONE).shape == (0, BACKBONE.dimensions)
