"""Load test: simulated users of the backend and the frontend.

.venv/bin/locust --headless --users 16 --spawn-rate 16 --run-time 30s --host http://localhost:8000
.venv/bin/locust --headless --find-saturation --rate 500 --host http://localhost:8000 Uploader
.venv/bin/locust --host http://localhost:8000 --frontend http://localhost:8501

Without --headless, Locust serves its web interface on port 8089. The names at the end select the
user types (default: all). Any unexpected response counts as a failure, including 429 (queue full).
BACKEND_API_KEY is sent if the backend requires a key, BACKEND_ID_TOKEN if it is private, and
FRONTEND_ID_TOKEN if the frontend is private.
`make load` starts the services and finds their saturation point.
"""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from locust import FastHttpUser, User, between, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.clients import ResponseContextManager
from locust.env import Environment
from locust.exception import RescheduleTask
from locust.runners import WorkerRunner

from benchmarks.load import images, options
from deploy import credentials

BATCH_SIZE = 16
STROKES = (3, 8)  # per session of a visitor
PAUSE = (0.5, 1.5)  # s between strokes


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    options.add_options(parser)


@events.init.add_listener
def _prepare(environment: Environment, **_: object) -> None:
    if environment.parsed_options is not None and not environment.parsed_options.frontend:
        environment.user_classes = [one for one in environment.user_classes if one is not Visitor]
    environment.host = (environment.host or BackendUser.host).rstrip("/")
    try:
        BackendUser.auth_headers = credentials.backend_headers(environment.host)
    except ValueError as error:
        sys.exit(str(error))
    images.make_digits()  # cached before the users start, because it blocks them
    if Photographer in environment.user_classes:
        images.make_photographs()
    # With --processes, the master has all statistics.
    if not isinstance(environment.runner, WorkerRunner):
        evaluator = options.RunEvaluator(environment)
        environment.events.quitting.add_listener(lambda **_: evaluator.finish())


class BackendUser(FastHttpUser):
    """A client of the backend."""

    abstract = True
    host = "http://localhost:8000"
    insecure = False
    auth_headers: ClassVar[dict[str, str]] = {}

    def send(self, path: str, name: str, *files: images.Upload) -> ResponseContextManager:
        """Upload a form; the caller checks the response. `name` is the line in the report."""
        body, content_type = images.encode_form(*files)
        headers = {**self.auth_headers, "Content-Type": content_type}
        return self.client.post(path, body, headers=headers, name=name, catch_response=True)

    def classify(self, name: str, image: images.Upload) -> None:
        """Upload an image and check that the response has a prediction."""
        with self.send("/classify", name, image) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif "prediction" not in response.json():
                response.failure("response without a prediction")


class Uploader(BackendUser):
    """A script that uploads scanned digits one after another."""

    weight = 6
    wait_time = between(0.0, 0.1)

    @task
    def scan(self) -> None:
        """Upload a scanned digit; all have the same file name, as from a scanner."""
        self.classify("scanned digit", random.choice(images.make_digits()))


class Photographer(BackendUser):
    """A person who uploads unedited phone photographs, with pauses."""

    weight = 2
    wait_time = between(1.0, 3.0)

    @task
    def photograph(self) -> None:
        """Upload a photograph of 12 megapixels."""
        self.classify("phone photograph", random.choice(images.make_photographs()))


class Archivist(BackendUser):
    """A script that uploads batches without pauses."""

    weight = 1
    wait_time = constant(0)

    @task
    def batch(self) -> None:
        """Upload a batch; the response has one line per image."""
        files = random.sample(images.make_digits(), BATCH_SIZE)
        with self.send("/classify/batch", f"batch of {BATCH_SIZE}", *files) as response:
            lines = (response.text or "").splitlines()
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif sum('"prediction"' in line for line in lines) != BATCH_SIZE:
                response.failure(f"{len(lines)} lines without a prediction for each image")


class Beginner(BackendUser):
    """A person who uploads files that are not images."""

    weight = 1
    wait_time = between(0.5, 1.5)

    @task
    def mistake(self) -> None:
        """Upload an invalid file; the response must be an error with a reason."""
        file = random.choice(images.make_invalid_files())
        with self.send("/classify", "invalid file", file) as response:
            if response.status_code not in (400, 413, 415, 422):
                response.failure(f"status {response.status_code}")
            elif not response.json().get("detail"):
                response.failure("error without a reason")
            else:
                response.success()


class Visitor(User):
    """A person who opens the frontend, draws a few digits and leaves.

    Used only if --frontend is set to the URL of the frontend.
    """

    weight = 2
    wait_time = between(0.5, 1.5)

    @task
    def visit(self) -> None:
        """Run one session over the websocket of the frontend."""
        from benchmarks.load import page_user  # imports Streamlit's messages, which takes 1 s

        url = self.environment.parsed_options.frontend
        page_user.draw_digit(url, random.randint(*STROKES), PAUSE, self._measure)

    @contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        """Record a step of the session; end the session if it fails."""
        with self.environment.events.request.measure("PAGE", name) as measurement:
            yield
        if measurement["exception"]:
            raise RescheduleTask
