"""Where the backend is. No Streamlit in here."""

from collections.abc import Mapping

from client import base_url

DEFAULT = "http://localhost:8000"


class AddressError(ValueError):
    """No usable address; the text is a sentence for a person."""


def backend_url(environ: Mapping[str, str]) -> str:
    """Return the address that BACKEND names, or the default where it is unset or empty.

    Raises AddressError where it is not an http(s) address.
    """
    try:
        return base_url(environ.get("BACKEND", "").strip() or DEFAULT)
    except ValueError as exc:
        raise AddressError(f"The setting BACKEND cannot be used: {exc}.") from exc
