"""The campaign finds planted defects, saves them and continues; a run resumes the previous one."""

import json
import time
from pathlib import Path

import pytest

from tests.fuzz import __main__, campaign
from tests.fuzz.campaign import Campaign
from tests.fuzz.worker import MIN_INPUTS

PLANTED = "tests.fuzz.planted"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("error", "exception KeyError at tests/fuzz/planted.py"),
        ("exit", "crash exit status 11"),
        ("allocate", "memory ValueError at"),
        ("grow", "memory"),
        ("hang", "slow"),
    ],
)
def test_planted_defect_is_found_and_saved_with_its_input(
    name: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "MAX_CPU_SECONDS", 0.2)
    result = Campaign(tmp_path, module=PLANTED).run(name, 0)
    assert result.inputs > 0
    assert result.findings
    assert all(key.startswith(found) for key in result.findings), result.findings
    saved = sorted((tmp_path / "findings").glob("*.bin"))
    assert len(saved) == len(result.findings)
    assert f"--reproduce {name} {saved[0]}" in saved[0].with_suffix(".txt").read_text()


def test_campaign_continues_after_a_crash(tmp_path: Path) -> None:
    planted = Campaign(tmp_path, module=PLANTED)
    numbers = []
    for _ in range(3):
        result = planted.run("exit", 0)
        numbers.append(planted.state()["exit"]["next"])
    assert result.findings["crash exit status 11"] == 3
    assert numbers[0] < numbers[1] < numbers[2]
    assert len(list((tmp_path / "findings").glob("*.bin"))) == 1


def test_documented_error_is_no_finding(tmp_path: Path) -> None:
    result = Campaign(tmp_path, module=PLANTED).run("documented", 0)
    assert result.inputs >= MIN_INPUTS
    assert result.accepted == 0
    assert not result.findings


def test_run_resumes_where_the_last_one_stopped(tmp_path: Path) -> None:
    Campaign(tmp_path, module=PLANTED).run("documented", 0)
    first = json.loads((tmp_path / "state.json").read_text())["documented"]["next"]
    again = Campaign(tmp_path, module=PLANTED)
    assert again.next_target(["documented", "error"]) == "error"
    result = again.run("documented", 0)
    assert again.state()["documented"]["next"] == first + result.inputs


def test_damaged_state_starts_again(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    assert Campaign(tmp_path, module=PLANTED).run("documented", 0).inputs >= MIN_INPUTS


def test_unknown_target_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        __main__.main(["--targets", "images,nonsense"])
    assert "unknown targets: nonsense" in capsys.readouterr().err


def test_whole_time_is_used(tmp_path: Path) -> None:
    started = time.monotonic()
    Campaign(tmp_path, module=PLANTED).run("documented", 1)
    assert time.monotonic() - started >= 1
