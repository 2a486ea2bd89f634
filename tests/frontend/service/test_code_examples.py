"""Code that classifies the same image, executed against a real backend."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from frontend.service.code_examples import curl_command, python_program
from tests.client.fake_server import FakeResponse, serving
from tests.frontend.app import CLASSIFICATION_JSON, SEVEN

NAMES = [
    "seven.png",
    "-",
    'it\'s; a, "7" & $HOME `id` \\ %41 <x>.png',
    "sieben ä 七.png",
    " two  spaces .png",
    "digits/07.png",
]
KEY = "secret"


def save(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(SEVEN)


def run(command: list[str], folder: Path, **environ: str) -> str:
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, env=os.environ | environ
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_curl_command_classifies_the_file(backend_url: str, name: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    save(tmp_path, name)
    command = curl_command(backend_url, "mnist-cnn", name)
    answer = json.loads(run(["sh", "-c", command], tmp_path))
    assert answer["prediction"] == "7"
    assert answer["model"]["name"] == "mnist-cnn"


@pytest.mark.parametrize("name", NAMES[2:4])
def test_python_program_classifies_the_file(backend_url: str, name: str, tmp_path: Path) -> None:
    save(tmp_path, name)
    program = python_program(backend_url, "mnist-cnn", name)
    assert run([sys.executable, "-c", program], tmp_path).startswith("7 0.9")


def test_api_key_is_sent_from_a_variable(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    answer = CLASSIFICATION_JSON.replace(b'"stored"', b'"in_distribution": null, "stored"')
    with serving(FakeResponse(answer)) as (url, requests):
        program = python_program(url, "m", "a.png", has_key=True)
        run([sys.executable, "-c", program], tmp_path, PRISM_API_KEY=KEY)
        if shutil.which("curl"):
            command = curl_command(url, "m", "a.png", has_key=True)
            run(["sh", "-c", command], tmp_path, PRISM_API_KEY=KEY)
        assert KEY not in program
        assert {request.headers["X-API-Key"] for request in requests} == {KEY}


def test_identity_token_is_sent(tmp_path: Path) -> None:
    gcloud = tmp_path / "gcloud"
    gcloud.write_text("#!/bin/sh\necho token\n")
    gcloud.chmod(0o755)
    save(tmp_path, "a.png")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    answer = CLASSIFICATION_JSON.replace(b'"stored"', b'"in_distribution": false, "stored"')
    with serving(FakeResponse(answer)) as (url, requests):
        program = python_program(url, "m", "a.png", has_token=True)
        text = run([sys.executable, "-c", program], tmp_path, PATH=path)
        assert text == "not one of the model's classes\n"
        assert requests[0].headers["Authorization"] == "Bearer token"
        command = curl_command(url, "m", "a.png", has_token=True)
        assert "Bearer $(gcloud auth print-identity-token)" in command


def test_lone_surrogates_in_a_name_can_be_shown() -> None:
    assert curl_command("http://x", "m", "\udcff.png").encode()
    assert python_program("http://x", "m", "\udcff.png").encode()
