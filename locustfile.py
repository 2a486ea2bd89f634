"""Load test: people who upload pictures, and people who visit the page.

.venv/bin/locust --headless --users 16 --spawn-rate 16 --run-time 30s --host http://localhost:8000
.venv/bin/locust --headless --find-knee --rate 500 --host http://localhost:8000 Uploader
.venv/bin/locust --host http://localhost:8000 --frontend http://localhost:8501

Without --headless Locust serves its own page on port 8089. Names at the end say who takes part;
without any it is everybody. An answer other than the right one counts as a failure, a 429 too: it
says that the queue was full. BACKEND_API_KEY is sent where the backend asks for a key;
BACKEND_ID_TOKEN where it is private, and FRONTEND_ID_TOKEN where the page is.
`make load` starts what is to be tested, and finds its knee.
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

IN_A_BATCH = 16
STROKES = (3, 8)  # of one drawing
PAUSE = (0.5, 1.5)  # s between two strokes, as people draw


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    options.add(parser)


@events.init.add_listener
def _prepare(environment: Environment, **_: object) -> None:
    if environment.parsed_options is not None and not environment.parsed_options.frontend:
        environment.user_classes = [one for one in environment.user_classes if one is not Visitor]
    environment.host = (environment.host or Caller.host).rstrip("/")
    try:
        Caller.opening = credentials.backend_headers(environment.host)
    except ValueError as error:
        sys.exit(str(error))
    images.digits()  # made now: nobody would get a turn meanwhile
    if Photographer in environment.user_classes:
        images.photographs()
    if not isinstance(environment.runner, WorkerRunner):  # with --processes one of them has it all
        judge = options.Judge(environment)
        environment.events.quitting.add_listener(lambda **_: judge.conclude())


class Caller(FastHttpUser):
    """Whoever asks the backend itself."""

    abstract = True
    host = "http://localhost:8000"
    insecure = False
    opening: ClassVar[dict[str, str]] = {}

    def send(self, path: str, name: str, *files: images.Picture) -> ResponseContextManager:
        """Upload a form, and leave the verdict to the caller; `name` is the line in the report."""
        body, kind = images.form(*files)
        headers = {**self.opening, "Content-Type": kind}
        return self.client.post(path, body, headers=headers, name=name, catch_response=True)

    def classify(self, name: str, picture: images.Picture) -> None:
        """Upload a picture and see whether an answer with a label comes back."""
        with self.send("/classify", name, picture) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif "prediction" not in response.json():
                response.failure("an answer without a prediction")


class Uploader(Caller):
    """Has a pile of scanned digits and a script that uploads one after the other."""

    weight = 6
    wait_time = between(0.0, 0.1)

    @task
    def scan(self) -> None:
        """Upload the next one, under the same file name, as scanners do."""
        self.classify("a scanned digit", random.choice(images.digits()))


class Photographer(Caller):
    """Takes a picture with a phone, uploads it as it is, looks at the answer, takes another."""

    weight = 2
    wait_time = between(1.0, 3.0)

    @task
    def photograph(self) -> None:
        """Upload a photograph of 12 megapixels."""
        self.classify("a photograph from a phone", random.choice(images.photographs()))


class Archivist(Caller):
    """Works through a folder of thousands, a batch after the other, without a pause."""

    weight = 1
    wait_time = constant(0)

    @task
    def batch(self) -> None:
        """Upload some at once: a line comes back for each, in order."""
        files = random.sample(images.digits(), IN_A_BATCH)
        with self.send("/classify/batch", f"a batch of {IN_A_BATCH}", *files) as response:
            lines = (response.text or "").splitlines()
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif sum('"prediction"' in line for line in lines) != IN_A_BATCH:
                response.failure(f"{len(lines)} lines, not an answer for each picture")


class Beginner(Caller):
    """Uploads the wrong file, is told so, and tries the next wrong one."""

    weight = 1
    wait_time = between(0.5, 1.5)

    @task
    def mistake(self) -> None:
        """Upload what is no picture: the answer has to say so, in so many words."""
        with self.send("/classify", "no picture", random.choice(images.mistakes())) as response:
            if response.status_code not in (400, 413, 415, 422):
                response.failure(f"status {response.status_code}")
            elif not response.json().get("detail"):
                response.failure("a refusal without a reason")
            else:
                response.success()


class Visitor(User):
    """Opens the page in a browser, draws a few digits, and goes; then somebody else comes.

    The address of the page is --frontend; without it nobody visits.
    """

    weight = 2
    wait_time = between(0.5, 1.5)

    @task
    def visit(self) -> None:
        """One session of the page, over its websocket."""
        from benchmarks.load import page_user  # takes a second: Streamlit's messages

        address = self.environment.parsed_options.frontend
        page_user.draw(address, random.randint(*STROKES), PAUSE, self._measured)

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        """Count a step of the visit; where it failed, the visit is over."""
        with self.environment.events.request.measure("PAGE", name) as told:
            yield
        if told["exception"]:
            raise RescheduleTask
