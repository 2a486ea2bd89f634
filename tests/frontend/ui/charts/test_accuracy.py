"""The chart of the accuracy per day."""

from client import Accuracy
from frontend.ui.charts.accuracy import MAX_DAYS, accuracy_chart, accuracy_frame


def day(confirmed: int, corrected: int) -> Accuracy:
    return Accuracy(confirmed, corrected, {})


def test_frame_has_accuracy_and_count_per_day() -> None:
    frame = accuracy_frame({"2026-03-02": day(1, 3), "2026-03-01": day(2, 0)})
    assert frame.to_dict("list") == {
        "day": ["2026-03-01", "2026-03-02"],
        "accuracy": [1.0, 0.25],
        "text": ["100% of 2", "25% of 4"],
    }


def test_frame_has_the_latest_days_only() -> None:
    days = {f"2026-01-{number:02}": day(1, 1) for number in range(1, 32)}
    days |= {f"2026-02-{number:02}": day(1, 1) for number in range(1, 20)}
    frame = accuracy_frame(days)
    assert len(frame) == MAX_DAYS
    assert frame["day"].iloc[-1] == "2026-02-19"


def test_bars_are_labeled_only_if_they_are_few() -> None:
    def marks(days: int) -> str:
        accuracies = {f"2026-01-{number:02}": day(1, 1) for number in range(1, days + 1)}
        return str(accuracy_chart(accuracies).to_dict())

    assert "'type': 'text'" in marks(8)
    assert "'type': 'text'" not in marks(9)
