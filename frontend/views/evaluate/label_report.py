"""The results of the evaluation of a multi-label model: metrics over all labels, and of each."""

import streamlit as st

from evaluation.escaping import escape_formula
from evaluation.label_metrics import MultiLabelMetrics
from evaluation.results import Evaluation
from frontend.datasets.evaluation_job import precise_percent
from frontend.ui.formatting import count


def show(evaluation: Evaluation, metrics: MultiLabelMetrics) -> None:
    """Show the metrics."""
    images = count(metrics.count, "image", "images")
    rows: list[tuple[str, str, str]] = []
    if metrics.mean_average_precision is not None:
        text = "Mean over the labels in the dataset. It does not depend on the thresholds."
        rows.append(("Mean average precision", f"{metrics.mean_average_precision:.4f}", text))
    if metrics.macro is not None:
        text = "Mean F1 of the labels in the dataset, at the thresholds of the model."
        rows.append(("Macro F1", precise_percent(metrics.macro.f1), text))
    text = "F1 of all decisions together: frequent labels count more."
    rows.append(("Micro F1", precise_percent(metrics.micro.f1), text))
    text = f"Share of {images} all of whose labels are right."
    rows.append(("Exact match", precise_percent(metrics.exact_match), text))
    if latency := evaluation.latency:
        text = (
            f"Median decoding and inference time; 95% of images take at most {latency.p95:.1f} ms."
        )
        rows.append(("Latency", f"{latency.p50:.1f} ms", text))
    with st.container(horizontal=True, gap="medium"):
        for name, value, text in rows:
            st.metric(name, value, help=text, width="content")
    st.caption(f"The images have {metrics.mean_labels:.2f} labels on average.")
    _show_labels(metrics)


def _show_labels(metrics: MultiLabelMetrics) -> None:
    st.subheader("Metrics by label", anchor=False)
    labels = [one for one in metrics.classes if one.support or one.precision is not None]
    st.dataframe(
        {
            "Label": [escape_formula(one.label) for one in labels],
            "Images": [one.support for one in labels],
            "Average precision": [one.average_precision for one in labels],
            "Precision": [one.precision for one in labels],
            "Recall": [one.recall for one in labels],
            "F1": [one.f1 for one in labels],
        },
        column_config={
            name: st.column_config.NumberColumn(name, format="percent")
            for name in ("Average precision", "Precision", "Recall", "F1")
        },
        hide_index=True,
    )
