"""Who may open the page, and who may see the history and change models.

| setting | meaning |
| --- | --- |
| `PRISM_PAGE_USERS` | e-mail addresses and domains of the users with access to everything |
| `PRISM_PAGE_SIGN_IN` | `true`: the whole page requires a sign-in |
| `PRISM_PAGE_OPEN` | `true`: everyone has access to everything without PRISM_PAGE_USERS; \
`false`: nobody has; default: users of the machine on which the page runs have |

Streamlit signs users in if secrets.toml has a section [auth] (OpenID Connect).
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import streamlit as st

USERS_SETTING: Final = "PRISM_PAGE_USERS"
SIGN_IN_SETTING: Final = "PRISM_PAGE_SIGN_IN"
OPEN_SETTING: Final = "PRISM_PAGE_OPEN"

_TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("", "false", "0", "no", "off")
_USER: Final = re.compile(r"([^@\s;]+@)?[^@\s;]+")  # an e-mail address or a domain


def check_settings() -> None:
    """Raise ValueError if a setting is invalid: a misspelled `true` must not open the page."""
    for name in (SIGN_IN_SETTING, OPEN_SETTING):
        if os.environ.get(name, "").strip().lower() not in (*_TRUE, *_FALSE):
            raise ValueError(f"{name}={os.environ[name]}: must be true or false")
    if not all(map(_USER.fullmatch, _users())):
        raise ValueError(
            f"{USERS_SETTING}={os.environ[USERS_SETTING]}: must be e-mail addresses and domains, "
            "separated by commas, such as ana@example.com,example.org"
        )


def has_sign_in() -> bool:
    """Return whether users can sign in: Streamlit then knows whether they have."""
    return "is_logged_in" in st.user


def is_signed_in() -> bool:
    """Return whether the user has signed in."""
    return st.user.get("is_logged_in") is True


def may_open() -> bool:
    """Return whether the user may open the page."""
    if not _is_true(SIGN_IN_SETTING):
        return True
    return is_signed_in() and (not _users() or is_listed(st.user, _users()))


def may_manage() -> bool:
    """Return whether the user may see the history and change models."""
    if _users() or not _is_open():
        return is_signed_in() and is_listed(st.user, _users())
    return True


def is_listed(user: Mapping[str, Any], allowed: frozenset[str]) -> bool:
    """Return whether the verified e-mail address of `user`, or its domain, is in `allowed`.

    The comparison ignores case. Subdomains of a domain are other domains.
    """
    email = user.get("email")
    if not isinstance(email, str) or user.get("email_verified") not in (True, "true"):
        return False
    name, _, domain = email.casefold().rpartition("@")
    is_valid = name and domain and "@" not in name and not any(map(str.isspace, email))
    return bool(is_valid) and not allowed.isdisjoint((f"{name}@{domain}", domain))


def parse_users(text: str) -> frozenset[str]:
    """Return the e-mail addresses and domains of a comma-separated list, in lower case."""
    entries = (entry.strip().casefold().removeprefix("@") for entry in text.split(","))
    return frozenset(filter(None, entries))


def is_loopback(host: str) -> bool:
    """Return whether a host name or address, with or without a port, is of this machine only."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_open() -> bool:
    """Return whether everyone may see the history if PRISM_PAGE_USERS is empty.

    A page that listens on the loopback interface can still be published by a proxy, which the
    name in the browser's request reveals.
    """
    if os.environ.get(OPEN_SETTING, "").strip():
        return _is_true(OPEN_SETTING)
    address = st.get_option("server.address") or ""
    return is_loopback(address) and is_loopback(st.context.headers.get("Host") or "")


def _users() -> frozenset[str]:
    return parse_users(os.environ.get(USERS_SETTING, ""))


def _is_true(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in _TRUE
