"""The results of an evaluation: metrics, mistakes, calibration, failures, exports."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import streamlit as st
from matplotlib.figure import Figure

from evaluation import charts, html
from evaluation.escaping import escape_formula
from evaluation.intervals import Interval
from evaluation.metrics import MIN_BIN_IMAGES, Metrics, restrict_confusion_matrix
from evaluation.report import to_json_object, write_records
from evaluation.results import Evaluation
from frontend.datasets.evaluation_job import EvaluationRun, as_sentence, precise_percent
from frontend.ui import image_grid
from frontend.ui.charts.bars import count_chart
from frontend.ui.charts.reliability import reliability_chart
from frontend.ui.formatting import count, escape, percent
from frontend.views.evaluate import confusion_matrix, label_report

MAX_BARS: Final = 20
MAX_LISTED_FAILURES: Final = 1000


def show(token: str, result: EvaluationRun, evaluation: Evaluation) -> None:
    """Show the results; `token` identifies the evaluation."""
    _show_notes(evaluation)
    metrics = evaluation.metrics
    if evaluation.label_metrics is not None:
        label_report.show(evaluation, evaluation.label_metrics)
    elif metrics is None:
        st.warning("No labeled image was classified, so there are no metrics.")
    else:
        _show_metrics(evaluation, metrics)
        confusion_matrix.show(token, result.data, result.confusions)
        _show_mistakes(result, evaluation)
        _show_calibration(metrics)
        _show_classes(metrics)
    _show_failures(evaluation)
    _show_exports(evaluation, metrics)


def _show_notes(evaluation: Evaluation) -> None:
    if evaluation.stopped:
        st.warning(
            f"Partial result: {len(evaluation.records):,} of {evaluation.total:,} images. Classes "
            "are evaluated in order, so the last ones are missing or incomplete. "
            + escape(as_sentence(evaluation.stopped)),
            icon=":material/incomplete_circle:",
        )
    for note in evaluation.notes:
        st.caption(escape(as_sentence(note)))


def _show_metrics(evaluation: Evaluation, metrics: Metrics) -> None:
    images = count(metrics.count, "image", "images")
    rows = [
        (
            "Accuracy",
            precise_percent(metrics.accuracy),
            f"Share of correct predictions for {images}.",
        ),
        ("Macro F1", precise_percent(metrics.macro.f1), "Mean F1 of the classes in the dataset."),
    ]
    if metrics.top5 is not None:
        text = "Share of images whose label is among the five most probable."
        rows.append(("Top-5 accuracy", precise_percent(metrics.top5), text))
    text = "Mean difference between confidence and accuracy."
    rows.append(("Expected calibration error", precise_percent(metrics.reliability.ece), text))
    if latency := evaluation.latency:
        text = (
            f"Median decoding and inference time; 95% of images take at most {latency.p95:.1f} ms."
        )
        rows.append(("Latency", f"{latency.p50:.1f} ms", text))
        text = "Throughput of the evaluation, including the network."
        rows.append(("Images per second", f"{latency.per_second:,.0f}", text))
    with st.container(horizontal=True, gap="medium"):
        for name, value, text in rows:
            st.metric(name, value, help=text, width="content")
    st.caption(
        f"95% interval of the accuracy: {_format_interval(metrics.accuracy_interval)}, from "
        f"{images}. More images make it narrower."
    )
    if sets := evaluation.sets:
        st.caption(
            f"Prediction sets with {100 * sets.promised:g}% coverage contain the correct label for "
            f"{precise_percent(sets.coverage)} of the images and have {sets.mean_size:.2f} labels "
            "on average."
        )


def _show_mistakes(result: EvaluationRun, evaluation: Evaluation) -> None:
    confusions = result.confusions
    total = sum(confusions.wrong.values())
    if not total:
        st.success("All predictions are correct.")
        return
    st.subheader("Mistakes by class", anchor=False)
    most = confusions.wrong.most_common(MAX_BARS)
    rows = [(label, wrong, _ratio(wrong, confusions.support[label])) for label, wrong in most]
    if len(confusions.wrong) > MAX_BARS:
        st.caption(f"The {MAX_BARS} of {len(confusions.wrong):,} classes with the most mistakes.")
    summary = ", ".join(f"{label} {ratio}" for label, _, ratio in rows[:5])
    st.altair_chart(count_chart(rows), alt=f"Mistakes by class. {summary}.")
    st.subheader("Worst mistakes", anchor=False)
    st.caption(f"The most confident of {count(total, 'wrong prediction', 'wrong predictions')}.")
    image_grid.show_few(
        [confusion_matrix.to_tile(result.data, mistake.record) for mistake in evaluation.mistakes]
    )


def _ratio(number: int, total: int) -> str:
    return f"{number:,} of {total:,} ({percent(number / total)})"


def _show_calibration(metrics: Metrics) -> None:
    reliability = metrics.reliability
    st.subheader("Calibration", anchor=False)
    bins = list(
        zip(
            reliability.confidence.tolist(),
            reliability.accuracy.tolist(),
            reliability.count.tolist(),
            reliability.segments,
            strict=True,
        )
    )
    summary = f"Confidence differs from accuracy by {100 * reliability.ece:.1f} points on average."
    points = "; ".join(
        f"confidence {percent(confidence)}, accuracy {percent(accuracy)}, "
        + count(number, "image", "images")
        for confidence, accuracy, number, _ in bins
    )
    st.altair_chart(reliability_chart(bins), alt=f"Reliability diagram. {summary} {points}.")
    st.caption(
        f"{summary} On the dashed line they are equal; below it the model is overconfident. "
        f"Larger points represent more images. Hollow points have fewer than {MIN_BIN_IMAGES} "
        "images, so their accuracy is uncertain; lines do not join them."
    )


def _show_classes(metrics: Metrics) -> None:
    st.subheader("Metrics by class", anchor=False)
    classes = [one for one in metrics.classes if one.support or one.precision is not None]
    st.dataframe(
        {
            "Class": [escape_formula(one.label) for one in classes],
            "Images": [one.support for one in classes],
            "Precision": [one.precision for one in classes],
            "Recall": [one.recall for one in classes],
            "95% interval of recall": [_format_interval(one.recall_interval) for one in classes],
            "F1": [one.f1 for one in classes],
        },
        column_config={
            name: st.column_config.NumberColumn(name, format="percent")
            for name in ("Precision", "Recall", "F1")
        },
        hide_index=True,
    )


def _format_interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{precise_percent(interval.low)} to {precise_percent(interval.high)}"


def _show_failures(evaluation: Evaluation) -> None:
    if not (failures := evaluation.failures):
        return
    st.subheader("Not classified", anchor=False)
    st.markdown(
        f"{count(len(failures), 'image', 'images')} could not be classified. "
        "The metrics exclude these images."
    )
    if len(failures) > MAX_LISTED_FAILURES:
        st.caption(f"The first {MAX_LISTED_FAILURES:,} are listed; the CSV contains all.")
    listed = failures[:MAX_LISTED_FAILURES]
    st.dataframe(
        {
            "Image": [escape_formula(one.name) for one in listed],
            "Reason": [escape_formula(one.error or "") for one in listed],
        },
        hide_index=True,
    )


def _show_exports(evaluation: Evaluation, metrics: Metrics | None) -> None:
    st.subheader("Export", anchor=False)
    files = [
        ("Report (HTML)", "report.html", "text/html", partial(_report_html, evaluation)),
        ("Predictions (CSV)", "predictions.csv", "text/csv", partial(_predictions_csv, evaluation)),
        ("Metrics (JSON)", "report.json", "application/json", partial(_report_json, evaluation)),
    ]
    if metrics is not None:
        png, svg = partial(_confusion_png, metrics), partial(_confusion_svg, metrics)
        files += [
            ("Confusion matrix (PNG)", "confusion.png", "image/png", png),
            ("Confusion matrix (SVG)", "confusion.svg", "image/svg+xml", svg),
        ]
    with st.container(horizontal=True):
        for label, name, mime, data in files:
            st.download_button(
                label, data, file_name=name, mime=mime, on_click="ignore", key=f"export {name}"
            )


def _report_html(evaluation: Evaluation) -> bytes:
    return html.render_report(evaluation).encode("utf-8", "backslashreplace")


def _report_json(evaluation: Evaluation) -> bytes:
    text = json.dumps(to_json_object(evaluation), allow_nan=False, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def _predictions_csv(evaluation: Evaluation) -> bytes:
    with tempfile.TemporaryDirectory(prefix="prism-") as folder:
        path = Path(folder) / "predictions.csv"
        write_records(path, evaluation.records)
        return path.read_bytes()


def _confusion_png(metrics: Metrics) -> bytes:
    return charts.to_png(_plot_confusion(metrics))


def _confusion_svg(metrics: Metrics) -> bytes:
    return charts.to_svg(_plot_confusion(metrics)).encode()


def _plot_confusion(metrics: Metrics) -> Figure:
    """Plot the classes that occur, or the most confused ones if these are too many to label."""
    limit = charts.MAX_ANNOTATED_CLASSES
    return charts.plot_confusion(
        *restrict_confusion_matrix(metrics.confusion, metrics.labels, limit)
    )
