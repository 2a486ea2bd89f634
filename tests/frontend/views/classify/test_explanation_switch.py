"""The switch that shows what decided."""

from tests.frontend.app import SEVEN, page_text, upload_files
from tests.frontend.conftest import OpenPage


def test_switch_shows_the_heat_map_and_stays_on(start: OpenPage, backend_url: str) -> None:
    app = upload_files(start(backend_url), ("seven.png", SEVEN))
    assert "Method:" not in page_text(app)
    app.toggle(key="explain").set_value(True).run()
    assert not app.exception
    assert "Method: occlusion" in page_text(app)
    assert "on" in app.query_params["explain"]
    app.run()
    assert app.toggle(key="explain").value
    app.toggle(key="explain").set_value(False).run()
    assert "Method:" not in page_text(app)
    assert "explain" not in app.query_params
