"""What an evaluation found out, on the page."""

from functools import partial

import streamlit as st

from evaluation.metrics import Metrics
from evaluation.results import Evaluation
from frontend.datasets.evaluation_job import Measurement, sentence, share
from frontend.ui import image_grid
from frontend.ui.charts.bars import count_chart
from frontend.ui.charts.reliability import reliability_chart
from frontend.ui.formatting import count, percent, plain
from frontend.views.evaluate import confusion_matrix, exports

MOST_BARS = 20
MOST_FAILURES = 1000


def show(token: str, found: Measurement, evaluation: Evaluation) -> None:
    """Show everything; `token` tells one measurement from another."""
    _caveats(evaluation)
    metrics = evaluation.metrics
    if metrics is None:
        st.warning("No labelled picture has an answer, so there is nothing to count.")
    else:
        _figures(evaluation, metrics)
        confusion_matrix.show(token, found.data, found.confusions)
        _mistakes(found, evaluation)
        _reliability(metrics)
        _classes(metrics)
    _failures(evaluation)
    _downloads(evaluation, metrics)


def _caveats(evaluation: Evaluation) -> None:
    if evaluation.stopped:
        done = f"{len(evaluation.records):,} of {evaluation.total:,} pictures"
        st.warning(
            f"This is a part only, {done}: the classes are read one after the other, so the last "
            f"ones are missing. {plain(sentence(evaluation.stopped))}",
            icon=":material/incomplete_circle:",
        )
    for note in evaluation.notes:
        st.caption(plain(sentence(note)))


def _figures(evaluation: Evaluation, metrics: Metrics) -> None:
    figures = [
        ("Accuracy", share(metrics.accuracy), f"Right on this share of {metrics.count:,}."),
        ("Macro F1", share(metrics.macro.f1), "The mean over the classes of the data."),
    ]
    if metrics.top5 is not None:
        says = "The right label is among the five likeliest."
        figures.append(("Top-5 accuracy", share(metrics.top5), says))
    says = "How far its percentages are from how often it is right, on average."
    figures.append(("Calibration error", share(metrics.reliability.ece), says))
    if latency := evaluation.latency:
        says = f"Decoding and inference, the median; 95 % within {latency.p95:.1f} ms."
        figures.append(("Latency", f"{latency.p50:.1f} ms", says))
        says = "Answered, all told, the way over the network included."
        figures.append(("Pictures a second", f"{latency.per_second:,.0f}", says))
    with st.container(horizontal=True, gap="medium"):
        for name, value, says in figures:
            st.metric(name, value, help=says, width="content")
    if sets := evaluation.sets:
        st.caption(
            f"Its prediction sets promise {100 * sets.promised:g} % coverage and had the right "
            f"label in {share(sets.coverage)}, with {sets.mean_size:.2f} labels on average."
        )


def _mistakes(found: Measurement, evaluation: Evaluation) -> None:
    confusions = found.confusions
    wrong = sum(confusions.wrong.values())
    if not wrong:
        st.success("Every picture was right.")
        return
    st.subheader("Wrong predictions by class", anchor=False)
    most = confusions.wrong.most_common(MOST_BARS)
    rows = [(label, number, _share(number, confusions.support[label])) for label, number in most]
    if len(confusions.wrong) > MOST_BARS:
        st.caption(f"The {MOST_BARS} classes with the most of {len(confusions.wrong):,}.")
    named = ", ".join(f"{label} {shown}" for label, _, shown in rows[:5])
    st.altair_chart(count_chart(rows), alt=f"Wrong predictions by class. {named}.")
    st.subheader("Worst mistakes", anchor=False)
    st.caption(f"Of {wrong:,} wrong predictions, those of which the model was most sure.")
    image_grid.show_few(
        [confusion_matrix.tile(found.data, mistake.record) for mistake in evaluation.mistakes]
    )


def _share(number: int, of: int) -> str:
    return f"{number:,} of {of:,} ({percent(number / of)})"


def _reliability(metrics: Metrics) -> None:
    found = metrics.reliability
    st.subheader("Can its percentages be trusted?", anchor=False)
    bins = list(
        zip(found.confidence.tolist(), found.accuracy.tolist(), found.count.tolist(), strict=True)
    )
    off = f"On average its percentages are {100 * found.ece:.1f} points off."
    named = "; ".join(f"said {percent(c)}, right in {percent(a)} of {n:,}" for c, a, n in bins)
    st.altair_chart(reliability_chart(bins), alt=f"Reliability diagram. {off} {named}.")
    st.caption(
        f"{off} On the dashed line they would be honest; below it the model is too sure of itself. "
        "The larger a point, the more pictures it stands for."
    )


def _classes(metrics: Metrics) -> None:
    st.subheader("Each class", anchor=False)
    known = [one for one in metrics.classes if one.support or one.precision is not None]
    st.dataframe(
        {
            "Class": [one.label for one in known],
            "Pictures": [one.support for one in known],
            "Precision": [one.precision for one in known],
            "Recall": [one.recall for one in known],
            "F1": [one.f1 for one in known],
        },
        column_config={
            name: st.column_config.NumberColumn(name, format="percent")
            for name in ("Precision", "Recall", "F1")
        },
        hide_index=True,
    )


def _failures(evaluation: Evaluation) -> None:
    if not (failures := evaluation.failures):
        return
    st.subheader("Without an answer", anchor=False)
    st.markdown(
        f"{count(len(failures), 'picture', 'pictures')} could not be classified and "
        "are in none of the figures."
    )
    if len(failures) > MOST_FAILURES:
        st.caption(f"The first {MOST_FAILURES:,} of them; the CSV has all.")
    named = failures[:MOST_FAILURES]
    st.dataframe(
        {"Picture": [one.name for one in named], "Why": [one.error for one in named]},
        hide_index=True,
    )


def _downloads(evaluation: Evaluation, metrics: Metrics | None) -> None:
    st.subheader("Take it away", anchor=False)
    files = [
        ("Report, HTML", "report.html", "text/html", partial(exports.report_html, evaluation)),
        ("Predictions, CSV", "predictions.csv", "text/csv",
         partial(exports.predictions_csv, evaluation)),
        ("Figures, JSON", "report.json", "application/json",
         partial(exports.report_json, evaluation)),
    ]  # fmt: skip
    if metrics is not None:
        files += [
            ("Confusion matrix, PNG", "confusion.png", "image/png",
             partial(exports.confusion_png, metrics)),
            ("Confusion matrix, SVG", "confusion.svg", "image/svg+xml",
             partial(exports.confusion_svg, metrics)),
        ]  # fmt: skip
    with st.container(horizontal=True):
        for label, name, mime, data in files:
            st.download_button(
                label, data, file_name=name, mime=mime, on_click="ignore", key=f"take {name}"
            )
