"""Taught models in a service of two workers, and after its process is killed."""

import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx

from client import Client
from tests.e2e.backend_process import BackendProcess
from tests.e2e.swap_loop import ENVIRON, Load, active_labels, seconds_until_active, upload

ROUNDS = 3
IMAGES = 10
WAIT = 120  # s


def test_every_worker_applies_changes_and_no_request_fails(tmp_path: Path) -> None:
    with BackendProcess(None, PRISM_DATA_DIR=str(tmp_path), **ENVIRON) as backend:
        backend.wait_until_ready()
        for seed in (1, 2):
            upload(backend.url, seed)
        seconds_until_active(backend.url, "a 2")
        load = Load(backend.url)
        with Client(backend.url) as client:
            for number in range(20):
                client.activate("letters", 1 + number % 2)
            seconds_until_active(backend.url, "a 2")
            client.activate("letters", 1)
        seconds_until_active(backend.url, "a 1")
        assert set(load.stop()) == {200}


def test_shadow_classifies_the_images_of_every_worker(tmp_path: Path) -> None:
    environ = ENVIRON | {"PRISM_HISTORY": "true", "PRISM_DATA_DIR": str(tmp_path)}
    with BackendProcess(None, **environ) as backend, Client(backend.url) as client:
        backend.wait_until_ready()
        for seed in (1, 2):
            upload(backend.url, seed)
        seconds_until_active(backend.url, "a 2")
        shadow, end = client.set_shadow("letters", 1), time.monotonic() + WAIT
        compared = -1
        while compared < IMAGES:  # until both workers have applied the change
            assert time.monotonic() < end, compared
            before = shadow.images
            assert active_labels(backend.url, IMAGES) == {"a 2"}
            time.sleep(1)  # for the commit
            shadow = client.set_shadow("letters", 1)
            compared = shadow.images - before
        assert shadow.agreement.value == 0
        assert shadow.milliseconds.active is not None


def test_kill_during_activations_leaves_a_version_that_works(tmp_path: Path) -> None:
    environ = ENVIRON | {"PRISM_DATA_DIR": str(tmp_path), "WEB_CONCURRENCY": "1"}
    for number in range(ROUNDS):
        with BackendProcess(None, **environ) as backend:
            backend.wait_until_ready()
            if number == 0:
                for seed in (1, 2):
                    upload(backend.url, seed)
            assert active_labels(backend.url, 1) <= {"a 1", "a 2"}
            killer = threading.Timer(0.1 + random.random(), backend.process.kill)
            killer.start()
            with suppress(httpx.HTTPError):
                while True:
                    version = random.choice((1, 2))
                    url = f"{backend.url}/models/letters/versions/{version}/activate"
                    httpx.post(url, trust_env=False).raise_for_status()
            killer.join()
    with BackendProcess(None, **environ) as backend:
        backend.wait_until_ready()
        assert active_labels(backend.url, 1) <= {"a 1", "a 2"}
        assert upload(backend.url, 3) == 3
