"""What cross-validation says about a taught model, and images to relabel or remove."""

from typing import TYPE_CHECKING, Final

import streamlit as st

from frontend.datasets.training_set import TrainingImage, TrainingSet, TrainingSetError
from frontend.ui.charts.matrix import confusion_frame, matrix_chart
from frontend.ui.formatting import count, escape, percent
from frontend.views.teach.teaching_job import TeachingRun

if TYPE_CHECKING:
    from teach.types import Report, Suspect

MAX_MATRIX_LABELS: Final = 20  # more labels make a matrix illegible
MAX_SUSPECTS: Final = 12  # shown at once; further ones follow after the next training
MAX_LISTED: Final = 100  # unusable files
THUMBNAIL_WIDTH: Final = 96  # px
_ERROR = "teach relabel error"


def show(images: TrainingSet | None, run: TeachingRun) -> None:
    """Show the report; without `images`, which have expired, nothing can be changed."""
    if run.model is None:
        return
    report = run.model.report
    for warning in report.warnings:
        st.warning(escape(warning), icon=":material/warning:")
    _show_metrics(run, report)
    _show_matrix(report)
    if images is not None:
        _show_suspects(images, run, report)
    _show_unusable(report)


def _show_metrics(run: TeachingRun, report: "Report") -> None:
    number = sum(report.counts)
    low, high = percent(report.interval.low), percent(report.interval.high)
    rows = [
        ("Accuracy", percent(report.accuracy), f"95% interval: {low} to {high}"),
        ("Images", f"{number:,}", f"In {count(len(report.labels), 'class', 'classes')}"),
        (
            "Labels at 95% coverage",
            f"{report.mean_set_size:.2f}",
            "The mean size of a prediction set",
        ),
    ]
    if report.ood_auroc is not None:
        text = (
            "How well images of other things are recognized as not one of the model's classes: "
            "1 is perfect, 0.5 is chance"
        )
        rows.append(("Other images (AUROC)", f"{report.ood_auroc:.3f}", text))
    with st.container(horizontal=True, gap="medium"):
        for name, value, text in rows:
            st.metric(name, value, help=text, width="content")
    st.caption(
        f"95% interval of the accuracy: {low} to {high}. It is measured by cross-validation: each "
        f"image is classified by a model that was taught without it. Taught in {run.seconds:.0f} s."
    )


def _show_matrix(report: "Report") -> None:
    from evaluation.metrics import restrict_confusion_matrix  # imports scikit-learn

    st.subheader("Confusion matrix", anchor=False)
    matrix, labels = restrict_confusion_matrix(report.confusion, report.labels, MAX_MATRIX_LABELS)
    if len(labels) < len(report.labels):
        st.caption(f"The {len(labels)} most confused of {len(report.labels)} classes.")
    position = {label: index for index, label in enumerate(labels)}

    def cell(true: str, predicted: str) -> int:
        return int(matrix[position[true], position[predicted]])

    wrong = sorted(
        (-cell(true, predicted), true, predicted)
        for true in labels
        for predicted in labels
        if true != predicted and cell(true, predicted)
    )
    mistakes = ", ".join(f"{true} predicted as {other} ({-n})" for n, true, other in wrong[:3])
    summary = f"Most common mistakes: {mistakes}." if mistakes else "No mistakes."
    st.altair_chart(matrix_chart(confusion_frame(labels, cell)), alt=f"Confusion matrix. {summary}")
    st.caption(escape(summary))


def _show_suspects(images: TrainingSet, run: TeachingRun, report: "Report") -> None:
    remaining = [
        (suspect, image)
        for suspect in report.suspects
        if (image := images.find(run.images[suspect.index].file.digest)) is not None
    ]
    if not remaining:
        return
    st.subheader("Probably mislabeled or hard images", anchor=False)
    st.markdown(
        "The model is not sure of the class of these images, the least sure first. Choose the "
        "right class, or remove images that do not show it clearly. Images that are right can stay."
    )
    if error := st.session_state.pop(_ERROR, None):
        st.error(escape(error), icon=":material/error:")
    for suspect, image in remaining[:MAX_SUSPECTS]:
        _show_suspect(images, suspect, image)
    if len(remaining) > MAX_SUSPECTS:
        more = count(len(remaining) - MAX_SUSPECTS, "more image", "more images")
        st.caption(f"{more}. Teach again after these are done.")


def _show_suspect(images: TrainingSet, suspect: "Suspect", image: TrainingImage) -> None:
    digest = image.file.digest
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        thumbnail = images.thumbnail(digest)
        if thumbnail is not None:
            st.image(thumbnail, width=THUMBNAIL_WIDTH, alt=f"The image {suspect.name}")
        with st.container(width="stretch"):
            text = (
                f"{suspect.name}: labeled “{suspect.label}” ({percent(suspect.probability)}), "
                f"predicted “{suspect.prediction}”"
            )
            st.markdown(escape(text))
            labels = list(images.labels)
            key = f"class of {digest}"
            st.session_state[key] = image.label
            st.selectbox(
                f"Class of {escape(suspect.name)}",
                labels,
                key=key,
                label_visibility="collapsed",
                on_change=_relabel,
                args=(images, digest, key),
            )
            with st.container(horizontal=True, vertical_alignment="center"):
                is_unchanged = image.label == suspect.label != suspect.prediction
                if is_unchanged and suspect.prediction in labels:
                    st.button(
                        f"It is {escape(suspect.prediction)}",
                        icon=":material/check:",
                        key=f"accept {digest}",
                        on_click=images.relabel,
                        args=(digest, suspect.prediction),
                    )
                st.button(
                    "Remove",
                    icon=":material/delete:",
                    key=f"drop {digest}",
                    on_click=images.remove,
                    args=(digest,),
                )
                if image.label != suspect.label:
                    st.caption(escape(f"Moved to {image.label}."))


def _relabel(images: TrainingSet, digest: str, key: str) -> None:
    try:
        images.relabel(digest, st.session_state[key])
    except TrainingSetError as error:
        st.session_state[_ERROR] = str(error)


def _show_unusable(report: "Report") -> None:
    if not report.unusable:
        return
    number = count(len(report.unusable), "file is", "files are")
    with st.expander(f"{number} not used: no readable images"):
        st.markdown(escape(", ".join(report.unusable[:MAX_LISTED])))
        if len(report.unusable) > MAX_LISTED:
            st.caption(f"And {len(report.unusable) - MAX_LISTED:,} more.")
