"""Classifications of frames for tests."""

from client import Classification, ClassScore, InputSpec, ModelInfo, ModelRef, Timings
from frontend.service.predictions import Outcome
from frontend.views.video.result import ClassifiedFrame

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


def classification(
    label: str = "7", confidence: float = 0.98, *, in_distribution: bool | None = True
) -> Classification:
    return Classification(
        id="1",
        filename=None,
        model=ModelRef("digits", "1"),
        prediction=label,
        confidence=confidence,
        top=(ClassScore(label, 0, confidence),),
        probabilities=None,
        prediction_set=(label,),
        coverage=0.95,
        in_distribution=in_distribution,
        stored=None,
        timings=Timings(1, 1, 1),
    )


def frames(*outcomes: Outcome) -> list[ClassifiedFrame]:
    """Return one frame per outcome, each half a second long."""
    return [ClassifiedFrame(n / 2, n / 2 + 0.5, outcome, b"") for n, outcome in enumerate(outcomes)]
