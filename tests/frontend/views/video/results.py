"""Answers about frames, made up."""

from client import Classification, Guess, InputSpec, ModelInfo, ModelRef, Timings
from frontend.service.predictions import Outcome
from frontend.views.video.result import Answered

MODEL = ModelInfo(
    name="digits",
    version="1",
    title="Digits",
    description="",
    state="ready",
    error=None,
    runtime=None,
    labels=("0", "7"),
    input=InputSpec("digit", (1, 28, 28)),
    metrics={},
    license=None,
)


def answer(
    label: str = "7", confidence: float = 0.98, *, in_distribution: bool | None = True
) -> Classification:
    return Classification(
        id="1",
        filename=None,
        model=ModelRef("digits", "1"),
        prediction=label,
        confidence=confidence,
        top=(Guess(label, 0, confidence),),
        probabilities=None,
        prediction_set=(label,),
        coverage=0.95,
        in_distribution=in_distribution,
        stored=None,
        timings=Timings(1, 1, 1),
    )


def frames(*outcomes: Outcome) -> list[Answered]:
    """A frame for each outcome, every half second."""
    return [Answered(n / 2, n / 2 + 0.5, outcome, b"") for n, outcome in enumerate(outcomes)]
