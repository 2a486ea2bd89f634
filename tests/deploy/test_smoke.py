"""The smoke test passes where Prism works, and says what does not."""

import pytest

from deploy import smoke
from tests.conftest import free_port


def test_it_passes_against_a_backend_that_works(
    backend_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smoke.main([backend_url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("ok ") for line in lines)
    assert "'7'" in lines[1]


def test_it_names_what_does_not_work(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    assert smoke.main([nobody, "--frontend", nobody]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("FAILED ") for line in lines)
