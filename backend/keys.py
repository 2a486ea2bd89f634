"""API keys: their notation in PRISM_API_KEYS; `python -m backend.keys` creates a key.

An entry is a SHA-256 hash, or NAME=HASH with options:

    page=HASH;scopes=classify+history;requests=600;megapixels=3000
"""

import argparse
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, cast, get_args

ScopeName = Literal["classify", "history", "models"]

SCOPES: Final[tuple[ScopeName, ...]] = get_args(ScopeName)
# What every key could do before there were scopes. `models` is granted by name only.
DEFAULT_SCOPES: Final[frozenset[ScopeName]] = frozenset({"classify", "history"})

_HASH: Final = re.compile("[0-9a-f]{64}")
_NAME: Final = re.compile("[a-z0-9][a-z0-9._-]{0,62}")
_QUOTA: Final = re.compile("[1-9][0-9]{0,8}")
_UNNAMED_LENGTH: Final = 8  # hexadecimal digits of the hash that name a key without a name
_NAME_RULE: Final = "the name must be at most 63 letters, digits, dots, hyphens and underscores"
_HINT: Final = "`python -m backend.keys` creates a key and its entry"

_ROTATION: Final = """\
To replace a key without downtime:
1. Add the new entry to PRISM_API_KEYS, after a comma, with the name and the options of the old
   entry, and restart the service. Both keys are accepted now, and share the quotas.
2. Give the new key to the client.
3. Remove the old entry from PRISM_API_KEYS, and restart the service."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An accepted key: the client's name, the key's SHA-256 digest, and what it may do.

    `requests` and `megapixels` are quotas per minute, None: no limit.
    """

    name: str
    digest: bytes
    scopes: frozenset[ScopeName] = DEFAULT_SCOPES
    requests: int | None = None
    megapixels: int | None = None


def hash_key(key: bytes) -> bytes:
    """Return the SHA-256 digest of an API key, 32 bytes."""
    return sha256(key).digest()


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Return the keys in PRISM_API_KEYS.

    Entries with the same name are keys of the same client. Raise ValueError for an invalid entry;
    the message names its position only, because a secret may be in the wrong place.
    """
    keys: list[ApiKey] = []
    for number, entry in enumerate(text.split(",") if text.strip() else (), start=1):
        try:
            key = _parse_entry(entry.strip().lower())
            _require_consistent(key, keys)
        except ValueError as error:
            raise ValueError(f"entry {number}: {error}") from None
        keys.append(key)
    return tuple(keys)


def _parse_entry(entry: str) -> ApiKey:
    head, *options = (part.strip() for part in entry.split(";"))
    name, has_name, digest = head.rpartition("=")
    name, digest = name.strip(), digest.strip()
    if not _HASH.fullmatch(digest):
        raise ValueError(f"must be a SHA-256 hash of 64 hexadecimal digits, or NAME=HASH; {_HINT}")
    if has_name and not _NAME.fullmatch(name):
        raise ValueError(_NAME_RULE)
    values: dict[str, str] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in ("scopes", "requests", "megapixels") or key in values:
            raise ValueError(
                "the options are scopes=, requests= and megapixels=, each at most once"
            )
        values[key] = value
    return ApiKey(
        name or digest[:_UNNAMED_LENGTH],
        bytes.fromhex(digest),
        _parse_scopes(values["scopes"]) if "scopes" in values else DEFAULT_SCOPES,
        _parse_quota(values, "requests"),
        _parse_quota(values, "megapixels"),
    )


def _parse_scopes(text: str) -> frozenset[ScopeName]:
    names = text.split("+") if text else []
    if not set(names) <= set(SCOPES):
        raise ValueError(f"scopes must be some of {', '.join(SCOPES)}, joined by +")
    return frozenset(cast(list[ScopeName], names))


def _parse_quota(options: dict[str, str], name: str) -> int | None:
    if name not in options:
        return None
    if not _QUOTA.fullmatch(options[name]):
        raise ValueError(f"{name} must be an integer of at least 1, the quota per minute")
    return int(options[name])


def _require_consistent(key: ApiKey, others: list[ApiKey]) -> None:
    for other in others:
        if other.digest == key.digest and other.name != key.name:
            raise ValueError("the same hash has two names")
        if other.name == key.name and _options(other) != _options(key):
            raise ValueError("keys with the same name must have the same options")


def _options(key: ApiKey) -> tuple[object, ...]:
    return key.scopes, key.requests, key.megapixels


def main() -> None:
    """Print a new key, its entry for PRISM_API_KEYS, and how to replace an old key."""
    parser = argparse.ArgumentParser(prog="python -m backend.keys", description=main.__doc__)
    parser.add_argument("--name", help="name of the client; default: from the hash")
    parser.add_argument(
        "--scopes", help="some of classify+history+models; default: classify+history"
    )
    parser.add_argument("--requests", help="quota of requests per minute; default: no limit")
    parser.add_argument("--megapixels", help="quota of megapixels per minute; default: no limit")
    arguments = vars(parser.parse_args())
    key = secrets.token_urlsafe(32)
    name = arguments.pop("name")
    head = f"{name}=" if name else ""
    if name and not _NAME.fullmatch(name.lower()):
        parser.error(_NAME_RULE)
    options = [f";{option}={value}" for option, value in arguments.items() if value is not None]
    entry = f"{head}{hash_key(key.encode()).hex()}{''.join(options)}".lower()
    try:
        parse_keys(entry)
    except ValueError as error:
        parser.error(str(error).removeprefix("entry 1: "))
    print(f"key, for the client:       {key}")
    print(f"entry, for PRISM_API_KEYS: {entry}")
    print(f"\n{_ROTATION}")


if __name__ == "__main__":
    main()
