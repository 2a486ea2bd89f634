"""Labels short enough for a chart."""

from collections.abc import Sequence

CHARACTERS = 18


def distinct(labels: Sequence[str]) -> list[str]:
    """Shorten labels to fit; number the repetitions: equal ones would share one row of a chart."""
    seen: dict[str, int] = {}
    result = []
    for label in map(_short, labels):
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result


def _short(label: str) -> str:
    return label if len(label) <= CHARACTERS else label[: CHARACTERS - 1] + "…"
