"""How often answers were right, day by day."""

from client import Accuracy
from frontend.ui.charts.accuracy import MOST_DAYS, accuracy_chart, accuracy_frame


def day(confirmed: int, corrected: int) -> Accuracy:
    return Accuracy(confirmed, corrected, {})


def test_days_are_in_order_with_their_share_and_how_many_were_looked_at() -> None:
    frame = accuracy_frame({"2026-03-02": day(1, 3), "2026-03-01": day(2, 0)})
    assert frame.to_dict("list") == {
        "day": ["2026-03-01", "2026-03-02"],
        "accuracy": [1.0, 0.25],
        "shown": ["100 % of 2", "25 % of 4"],
    }


def test_only_the_last_days_are_drawn() -> None:
    days = {f"2026-01-{number:02}": day(1, 1) for number in range(1, 32)}
    days |= {f"2026-02-{number:02}": day(1, 1) for number in range(1, 20)}
    frame = accuracy_frame(days)
    assert len(frame) == MOST_DAYS
    assert frame["day"].iloc[-1] == "2026-02-19"


def test_figures_are_written_only_where_they_fit() -> None:
    def marks(days: int) -> str:
        found = {f"2026-01-{number:02}": day(1, 1) for number in range(1, days + 1)}
        return str(accuracy_chart(found).to_dict())

    assert "'text'" in marks(8)
    assert "'text'" not in marks(9)
