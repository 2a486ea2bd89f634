"""Entries of PRISM_API_KEYS, and the command that creates them."""

import hashlib
import subprocess
import sys

import pytest

from backend.keys import DEFAULT_SCOPES, ApiKey, ScopeName, parse_keys
from tests.conftest import ROOT

A, B = 64 * "a", 64 * "b"
DIGEST_A, DIGEST_B = bytes.fromhex(A), bytes.fromhex(B)


def test_hash_alone_is_a_key_named_after_it_that_classifies_and_reads_the_history() -> None:
    assert parse_keys(A) == (ApiKey("aaaaaaaa", DIGEST_A, frozenset({"classify", "history"})),)


def test_entry_has_name_scopes_and_quotas() -> None:
    text = f"page={A};scopes=classify+models;requests=600;megapixels=3000, {B}"
    scopes: frozenset[ScopeName] = frozenset({"classify", "models"})
    assert parse_keys(text) == (
        ApiKey("page", DIGEST_A, scopes, 600, 3000),
        ApiKey("bbbbbbbb", DIGEST_B, DEFAULT_SCOPES),
    )


def test_options_may_have_any_order_and_spaces_around_them() -> None:
    assert parse_keys(f"page = {A} ; requests=5; scopes=history") == (
        ApiKey("page", DIGEST_A, frozenset({"history"}), 5),
    )


def test_key_without_scopes_is_possible() -> None:
    assert parse_keys(f"{A};scopes=")[0].scopes == frozenset()


def test_no_text_is_no_key() -> None:
    assert parse_keys("") == parse_keys(" ") == ()


def test_keys_with_the_same_name_belong_to_the_same_client() -> None:
    first, second = parse_keys(f"page={A};requests=5,page={B};requests=5")
    assert (first.name, first.requests) == (second.name, second.requests) == ("page", 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{A},", "entry 2: must be a SHA-256 hash"),
        (f"{A[1:]}", "entry 1: must be a SHA-256 hash"),
        (f"{A} {B}", "entry 1: must be a SHA-256 hash"),
        ("page=the key itself", "entry 1: must be a SHA-256 hash"),
        (f"={A}", "the name must"),
        (f"my page={A}", "the name must"),
        (f"{64 * 'n'}={A}", "the name must"),
        (f"page={A};scope=classify", "the options are"),
        (f"page={A};", "the options are"),
        (f"page={A};requests=1;requests=2", "each at most once"),
        (f"page={A};scopes=all", "scopes must be some of classify, history, models"),
        (f"page={A};scopes=classify+", "scopes must be some of"),
        (f"page={A};requests=0", "requests must be an integer"),
        (f"page={A};requests=-1", "requests must be an integer"),
        (f"page={A};megapixels=1.5", "megapixels must be an integer"),
        (f"page={A};megapixels=", "megapixels must be an integer"),
        (f"page={A};requests=5,page={B}", "entry 2: keys with the same name must have the same"),
        (f"page={A};scopes=history,page={B};scopes=classify", "must have the same options"),
        (f"page={A},other={A}", "entry 2: the same hash has two names"),
    ],
)
def test_invalid_entry_is_named_by_its_position(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        parse_keys(text)
    assert "the key itself" not in str(raised.value)


def run_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "backend.keys", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_command_prints_a_key_its_entry_and_the_steps_of_a_rotation() -> None:
    done = run_command("--name", "page", "--scopes", "classify", "--requests", "600")
    key, entry = (line.split(": ")[1].strip() for line in done.stdout.splitlines()[:2])
    (parsed,) = parse_keys(entry)
    digest = hashlib.sha256(key.encode()).digest()
    assert parsed == ApiKey("page", digest, frozenset({"classify"}), 600)
    assert len(key) >= 32
    assert "Add the new entry to PRISM_API_KEYS" in done.stdout


def test_command_without_options_prints_a_hash_alone() -> None:
    key, entry = (line.split(": ")[1].strip() for line in run_command().stdout.splitlines()[:2])
    assert entry == hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "page", "--scopes", "everything"), "scopes must be some of"),
        (("--name", "page,admin"), "the name must be at most 63 letters"),
    ],
)
def test_command_refuses_invalid_options(options: tuple[str, ...], message: str) -> None:
    done = run_command(*options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "key, for the client" not in done.stdout
