"""Where the backend is."""

import pytest

from frontend.discovery import AddressError, backend_url


def test_backend_names_the_address() -> None:
    assert backend_url({"BACKEND": "https://prism.example/"}) == "https://prism.example"


@pytest.mark.parametrize("environ", [{}, {"BACKEND": ""}, {"BACKEND": "  "}])
def test_without_it_the_backend_is_on_this_machine(environ: dict[str, str]) -> None:
    assert backend_url(environ) == "http://localhost:8000"


def test_a_wrong_address_is_told_with_the_name_of_the_setting() -> None:
    with pytest.raises(AddressError, match=r"BACKEND.*localhost:8000.*must start with http"):
        backend_url({"BACKEND": "localhost:8000"})
