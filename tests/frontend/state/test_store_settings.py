"""Settings of the page's store."""

import logging
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from frontend.state import store_settings
from tests.conftest import free_port


@pytest.fixture(autouse=True)
def _no_store() -> Iterator[None]:
    yield
    store_settings.start({})


def test_without_a_setting_there_is_no_store() -> None:
    store_settings.start({})
    assert store_settings.store() is None


def test_store_in_a_file(tmp_path: Path) -> None:
    store_settings.start({"PRISM_PAGE_STORE": f"sqlite:///{tmp_path / 'new' / 'page.db'}"})
    assert store_settings.store() is not None
    assert (tmp_path / "new" / "page.db").exists()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"PRISM_PAGE_STORE": "mysql://a:secret@b/c"}, "PRISM_PAGE_STORE: must be sqlite:///FILE"),
        ({"PRISM_PAGE_STORE": "page.db"}, "PRISM_PAGE_STORE: must be sqlite:///FILE"),
        ({"PRISM_PAGE_STORE": "sqlite:///:memory:"}, "PRISM_PAGE_STORE: must be sqlite:///FILE"),
        ({"PRISM_PAGE_STORE": "postgresql://u:secret@h:x/n"}, "PRISM_PAGE_STORE: is not a valid"),
        ({"PRISM_PAGE_STORE": "sqlite:////proc/page.db"}, "PRISM_PAGE_STORE: the file cannot be"),
        ({"PRISM_PAGE_STORE": f"sqlite:///{__file__}"}, "PRISM_PAGE_STORE: the file cannot be"),
        ({"PRISM_PAGE_STORE_HOURS": "0"}, "PRISM_PAGE_STORE_HOURS=0: must be a number greater"),
        ({"PRISM_PAGE_STORE_MAX_BYTES": "1 GB"}, "PRISM_PAGE_STORE_MAX_BYTES=1 GB: must be a"),
    ],
)
def test_invalid_setting_is_refused_without_its_password(
    environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        store_settings.start(environ)
    assert "secret" not in str(caught.value)


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        store_settings, "find_spec", lambda name: None if name == "psycopg" else find_spec(name)
    )
    with pytest.raises(ValueError, match=r"requires psycopg: pip install -r requirements/postgres"):
        store_settings.start({"PRISM_PAGE_STORE": "postgresql://h/n"})


def test_server_that_does_not_respond_yet_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    url = f"postgresql://prism:secret@127.0.0.1:{free_port()}/prism"
    with caplog.at_level(logging.WARNING, "prism.jobs"):
        store_settings.start({"PRISM_PAGE_STORE": url})
    assert store_settings.store() is not None
    assert "not available yet" in caplog.text
    assert "secret" not in caplog.text
