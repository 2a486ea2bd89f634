"""The model card of a taught model, in Markdown, written from its measurements."""

import re
from datetime import datetime
from typing import Final

from calibration.apply import Calibration
from evaluation.escaping import escape_unprintable
from teach.types import Backbone, Report

MAX_MATRIX: Final = 12  # classes; a larger matrix is not readable
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~&$:])")

_SCORES: Final = {
    "energy": "the energy of the logits (Liu et al. 2020)",
    "feature_distance": "the cosine distance to the nearest image of the classes, or the nearest "
    "group of similar images",
}


def render(
    name: str,
    title: str,
    backbone: Backbone,
    calibration: Calibration,
    report: Report,
    created: datetime,
) -> str:
    """Return the card of the model `name`."""
    images = sum(report.counts)
    low, high = report.interval.low, report.interval.high
    sections = [
        f"# {_escape(title)}",
        f"Classifies images into {len(report.labels)} classes. A linear layer on the features of "
        f"{_escape(backbone.name)} (version {_escape(backbone.version)}), trained from {images:,} "
        f"images on {created:%Y-%m-%d}.",
        "## Classes",
        _table(
            ["class", "images"],
            [
                [_escape(label), f"{count:,}"]
                for label, count in zip(report.labels, report.counts, strict=True)
            ],
        ),
        "## Evaluation",
        "By stratified cross-validation: each image is classified by layers that were trained "
        "without it. The images are those of the training, so that the figures hold for images "
        "that are taken like them.",
        _table(
            ["metric", "value"],
            [
                ["accuracy", f"{report.accuracy:.1%}"],
                ["95% interval of the accuracy (Wilson)", f"{low:.1%} to {high:.1%}"],
                *(
                    [f"mean number of labels in {float(coverage):.0%} prediction sets", f"{size}"]
                    for coverage, size in calibration.mean_set_size.items()
                ),
                ["AUROC against images of other things", _auroc(report)],
            ],
        ),
        *_confusion(report),
        "## Limitations",
        *([_list(report.warnings)] if report.warnings else []),
        f"Out-of-distribution score: {_SCORES[calibration.ood_method]}. "
        + (
            "It was chosen for the higher AUROC against features of photographs of many kinds and "
            "of generated text, digits, drawings, screenshots and textures. Images that resemble "
            "the classes are recognized less well."
            if report.ood_auroc is not None
            else "It was not compared with others: no images of other things are known for this "
            "backbone."
        ),
        "Confidence and prediction sets are calibrated on the same cross-validation. The coverage "
        "is an average over images like these; it does not hold for each class.",
        "The head contains features of the training images, from which a new version is trained.",
        f"Name: `{name}`. Backbone weights: SHA-256 `{backbone.sha256}`.",
    ]
    return "\n\n".join(sections) + "\n"


def _auroc(report: Report) -> str:
    return "not measured" if report.ood_auroc is None else f"{report.ood_auroc:.3f}"


def _confusion(report: Report) -> list[str]:
    if len(report.labels) > MAX_MATRIX:
        return []
    rows = [
        [f"**{_escape(label)}**", *map(str, row)]
        for label, row in zip(report.labels, report.confusion.tolist(), strict=True)
    ]
    header = ["label \\ prediction", *map(_escape, report.labels)]
    return ["### Confusion matrix", _table(header, rows)]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _list(sentences: tuple[str, ...]) -> str:
    return "\n".join(f"- {_escape(sentence)}" for sentence in sentences)


def _escape(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", escape_unprintable(text))
