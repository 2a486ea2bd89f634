"""The facade: the bytes of a picture in, a prediction out.

artifact = artifact.read(Path("models/mnist-cnn"))
classifier = Classifier(artifact, partial(runtimes.load, artifact))
prediction = await classifier.classify(Path("seven.png").read_bytes())
prediction.top(3)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np

from backend.inference.admission import Pace
from backend.inference.autotune import Interrupted, Plan
from backend.inference.batcher import FOREVER, Batcher
from backend.inference.decoder import Decoder, Input
from backend.inference.engine import Answer, Engine, Load
from backend.inference.errors import ClosedError, DeadlineError, QueueFullError
from backend.inference.images.image_reader import Reader
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.observer import SILENT, Observer
from backend.inference.preprocessing import model_input
from backend.inference.types import Floats, Prediction, Timings
from backend.resources.cpus import cores, cpu_limit
from calibration.apply import SetSize

# An answer that would come this close to the deadline is refused: the pace is only an estimate.
_ROOM: Final = 0.7


class Classifier:
    """Decode -> preprocess -> batch -> calibrate -> label, for one model.

    Pictures are decoded and run by the batcher's threads; only tiny ones are decoded on the event
    loop, where handing them over would cost more. The loop alone counts who is inside.
    """

    def __init__(
        self,
        artifact: Artifact,
        load: Load,
        *,
        threads: int | None = None,
        reader: Reader | None = None,
        max_batch: int = 32,
        queue_size: int = 512,
        scaled_decoding: bool = True,
        observer: Observer = SILENT,
    ) -> None:
        """Load the network for `threads` (default: the processors there are) and warm it.

        Raises ArtifactError where the network does not give one finite number per label.
        """
        threads = threads or cores(cpu_limit())
        self.manifest: Final[Manifest] = artifact.manifest
        fitted = artifact.manifest.calibration
        self._set_size: Final = SetSize(fitted.sets) if fitted else None
        self._max_ood_score: Final = fitted.max_ood_score if fitted else None
        self._decoder = Decoder(
            artifact.manifest.preprocess, reader or Reader(), scaled=scaled_decoding
        )
        self._engine = Engine(
            artifact, load, self._decoder, threads=threads, max_batch=max_batch, observer=observer
        )
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="prism-decode")
        self._max_batch = max_batch
        self._queue_size = queue_size
        self._observer = observer
        self._pace = Pace(self._engine.seconds_each)
        self._entered = 0
        self._batcher: Batcher[bytes | Input, Answer] = Batcher(
            self._engine,
            runners=self.plan.runners,
            max_batch=self.plan.max_batch,
            queue_size=queue_size,
            weigh=_rows,
        )

    @property
    def runtime_name(self) -> str:
        """`onnx` or `torch`."""
        return self._engine.runtime_name

    @property
    def plan(self) -> Plan:
        """How the work is spread over the processors now."""
        return self._engine.plan

    @property
    def waiting(self) -> int:
        """Pictures that are inside and not yet run."""
        return self._batcher.waiting

    def has_room(self, within: float | None = None) -> bool:
        """Whether a picture would be taken in now, and answered within so many seconds."""
        in_time = within is None or self._pace.wait <= _ROOM * within
        return in_time and self._pace.inside < self._queue_size

    def require_room(self, within: float | None = None) -> None:
        """Raise QueueFullError where there is no room; it is counted as a refusal."""
        if self.has_room(within):
            return
        full = self._pace.inside >= self._queue_size
        self._observer.shed("queue_full" if full else "too_slow")
        raise QueueFullError(
            "More pictures are waiting than can be answered in time. Try again later.",
            retry_after=self._pace.wait,
        )

    async def classify(self, data: bytes, within: float | None = None) -> Prediction:
        """Classify one picture, given as the bytes of its file.

        Raises an ImageError for a picture that cannot be used, QueueFullError and ClosedError
        where no work is taken, DeadlineError after `within` seconds, InferenceError where the
        model fails. Cancelling it gives the picture up before it costs a forward pass.
        """
        async with self._inside(within) as expires:
            item = await self._decoded(data)
            queued = time.perf_counter()
            answer = await self._batcher.submit(item, expires)
            spent = time.perf_counter() - queued
            waited = spent - answer.inference - (0 if isinstance(item, Input) else answer.decode)
            self._observer.answered(answer.decode, waited, answer.inference)
            return self._predictions(answer, waited)[0]

    def see(self, data: bytes) -> bytes:
        """Return what the model is given of a picture, as a PNG; blocks.

        Raises an ImageError for a picture that cannot be used.
        """
        return model_input.png(self._decoder.decode(data).rows[0], self.manifest.preprocess)

    async def classify_inputs(self, rows: Floats, within: float | None = None) -> list[Prediction]:
        """Classify inputs of shape (N, *input), already as the network wants them.

        Raises what `classify` does, but for an ImageError.
        """
        size = self._max_batch
        parts = [Input(rows[start : start + size]) for start in range(0, len(rows), size)]
        async with self._inside(within) as expires:
            queued = time.perf_counter()
            answers = [await self._batcher.submit(part, expires) for part in parts]
            inference = sum(answer.inference for answer in answers)
            waited = time.perf_counter() - queued - inference
            self._observer.answered(0.0, waited, inference)
            return [one for answer in answers for one in self._predictions(answer, waited)]

    @property
    def activity(self) -> int | None:
        """How many pictures came so far, None while some are inside."""
        return None if self._pace.inside else self._entered

    def spread(self) -> None:
        """Spread the work over the processors as is right for most networks; blocks."""
        self._apply(self._engine.spread())

    def survey(self, plans: Path, activity: Callable[[], int | None]) -> None:
        """Spread it as measuring in idle moments says; blocks until then, or until `close`.

        What was measured is kept in the folder `plans`. `activity` tells what the whole service
        does, as the property does for this model.
        """
        with suppress(Interrupted):
            self._apply(self._engine.survey(plans, activity))

    def close(self) -> None:
        """Finish what is queued and stop the threads; who still decodes is not waited for."""
        self._engine.stop()
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._batcher.close()

    @asynccontextmanager
    async def _inside(self, within: float | None) -> AsyncIterator[float]:
        """Admit one piece of work and see how it ends; gives the time at which it expires."""
        self.require_room(within)
        self._observer.admitted()
        started = time.perf_counter()
        self._pace.enter(started)
        self._entered += 1
        self._observer.depth(self._pace.inside)
        served = True
        try:
            async with asyncio.timeout(within):
                yield started + within if within else FOREVER
        except (TimeoutError, DeadlineError) as error:
            served = False
            self._observer.expired()
            raise DeadlineError(
                f"The answer took longer than {within:g} s and was given up. Try again later."
            ) from error
        except asyncio.CancelledError:
            served = False
            self._observer.abandoned()
            raise
        except Exception as error:
            self._observer.failed(error)
            raise
        finally:
            self._pace.leave(time.perf_counter(), served=served)
            self._observer.depth(self._pace.inside)

    async def _decoded(self, data: bytes) -> bytes | Input:
        """Decode what is tiny here, and the rest in threads of its own where the plan has them."""
        if (tiny := self._decoder.decode_tiny(data)) is not None:
            return tiny
        if not self.plan.decoders:
            return data
        try:
            decoding = self._decoders.submit(self._decoder.decode, data)
        except RuntimeError as error:  # closed
            raise ClosedError from error
        return await asyncio.wrap_future(decoding)

    def _predictions(self, answer: Answer, waited: float) -> list[Prediction]:
        timings = Timings(answer.decode * 1e3, waited * 1e3, answer.inference * 1e3)
        ranking = np.argsort(-answer.outputs, axis=1, kind="stable")
        scores = repeat(None) if answer.ood_scores is None else answer.ood_scores.tolist()
        return [
            Prediction(
                self.manifest.labels, row, order, timings, score, self._knows(score), self._set_size
            )
            for row, order, score in zip(answer.outputs, ranking, scores, strict=False)
        ]

    def _knows(self, ood_score: float | None) -> bool | None:
        if ood_score is None or self._max_ood_score is None:
            return None
        return ood_score <= self._max_ood_score

    def _apply(self, plan: Plan) -> None:
        self._batcher.resize(plan.runners, plan.max_batch)


def _rows(item: bytes | Input) -> int:
    return len(item.rows) if isinstance(item, Input) else 1
