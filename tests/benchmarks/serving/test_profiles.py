"""Tests of the summary of a profile."""

from benchmarks.serving.profiles import summarize


def test_summary_counts_own_time_and_that_of_callees() -> None:
    stacks = [
        "run (/lib/asyncio/runners.py:1);decode (/app/images/loading.py:7) 30",
        "run (/asyncio/runners.py:1);decode (/app/images/loading.py:9);resize (/PIL/Image.py:3) 50",
        "run (/lib/asyncio/runners.py:2) 20",
    ]
    assert summarize(stacks) == [
        "    own  total  function",
        "  50.0%  50.0%  resize (PIL/Image.py)",
        "  30.0%  80.0%  decode (images/loading.py)",
        "  20.0%  100.0%  run (asyncio/runners.py)",
    ]


def test_profile_without_samples() -> None:
    assert summarize([]) == ["  no samples"]
