"""The table of a report: what was packaged, and where each value comes from."""

from backend.inference.models.artifact import Manifest
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from training.package.imported import ASSUMED

_MAX_LABELS = 3  # that are listed
_OPTIONS = {
    "preprocess": "--preprocess FILE.json",
    "labels": "--labels FILE",
    "output": "--output",
    "task": "--task multi-label",
}


def table(manifest: Manifest) -> list[str]:
    """Return one line per value with its source, and what to type to change a guess."""
    values = {
        "preprocess": describe_spec(manifest.preprocess),
        "labels": _describe_labels(manifest.labels),
        "output": manifest.output,
        "task": manifest.task,
    }
    sources = {name: manifest.provenance.get(name, "unknown") for name in values}
    name_width = max(map(len, values))
    value_width = max(map(len, values.values()))
    lines = [f"{'':{name_width}}  {'value':{value_width}}  from"]
    lines += [
        f"{name:{name_width}}  {value:{value_width}}  {sources[name]}"
        for name, value in values.items()
    ]
    for name, source in sources.items():
        if source.startswith(ASSUMED):
            lines.append(f"the value of {name} is assumed; to change it, pass {_OPTIONS[name]}")
    return lines


def describe_spec(spec: Preprocess) -> str:
    """Return the steps of a preprocessing in one line."""
    if not isinstance(spec, PhotoPreprocess):
        return f"digit in {spec.size}x{spec.size}, {spec.layout}"
    match spec.resize:
        case None:
            resize = "no resizing"
        case int(side):
            resize = f"shorter side {side} {spec.interpolation}"
        case (height, width):
            resize = f"{height}x{width} {spec.interpolation}"
    mean, std = (",".join(f"{value:.4g}" for value in row) for row in (spec.mean, spec.std))
    height, width = spec.crop
    order = f"{spec.color}, " if spec.color != "RGB" else ""
    return f"{resize}, crop {height}x{width}, {order}mean {mean}, std {std}, {spec.layout}"


def _describe_labels(labels: tuple[str, ...]) -> str:
    more = ", …" if len(labels) > _MAX_LABELS else ""
    return f"{len(labels)}: {', '.join(labels[:_MAX_LABELS])}{more}"
