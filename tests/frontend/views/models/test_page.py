"""The Models page without a browser."""

from pathlib import Path

import pytest

from client import Client
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import models_response, page_text
from tests.frontend.conftest import OpenPage

MODELS = "views/models/page.py"


def test_models_have_a_state_metrics_and_a_card(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url).switch_page(MODELS).run()
    with Client(backend_url) as client:
        served = client.models().models
    text = page_text(app)
    assert f"This backend serves {len(served)} models." in text
    for model in served:
        assert model.title in [heading.value.replace("\\", "") for heading in app.header]
        assert model.description in text
        accuracy = f"{100 * model.metrics['test_accuracy']:.2f}%"
        assert accuracy in [metric.value for metric in app.metric]
        assert f"| Test accuracy | {accuracy} |" in text
        assert f"#### {model.name}" in text  # the model card
    assert text.count("Ready") == len(served) + 1  # the models and the automatic choice


def test_use_button_selects_the_model(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url).switch_page(MODELS).run()
    app.button(key="use mnist-mlp").click().run()
    assert app.query_params["model"] == "mnist-mlp"
    assert app.sidebar.selectbox[0].value == "mnist-mlp"
    assert "use mnist-cnn" in [button.key for button in app.button]


def test_failed_model_shows_its_error(start: OpenPage) -> None:
    with serving(models_response(good="digit", bad="failed")) as (url, _):
        app = start(url).switch_page(MODELS).run()
        assert "The weights are damaged." in page_text(app)
        assert ":red-badge" in page_text(app)


def test_several_models_can_be_loading(start: OpenPage) -> None:
    with serving(models_response(one="loading", two="loading")) as (url, _):
        app = start(url).switch_page(MODELS).run()
        assert "The model ONE is still loading." in page_text(app)
        assert "The model TWO is still loading." in page_text(app)


def test_long_label_list_is_shortened(start: OpenPage) -> None:
    response = models_response(big="image")
    body = response.body.replace(
        b'["0", "1"]', b"[%s]" % b",".join(b'"k%d"' % i for i in range(999))
    )
    with serving(FakeResponse(body)) as (url, _):
        app = start(url).switch_page(MODELS).run()
        assert "k199 and 799 more" in page_text(app)
        assert "k200" not in page_text(app)


def test_unreachable_backend_shows_how_to_start_it(start: OpenPage) -> None:
    app = start(f"http://127.0.0.1:{free_port()}").switch_page(MODELS).run()
    assert "`make run`" in app.error[0].value


def test_unexpected_error_shows_no_details(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "frontend.views.models.model_summary.key_metrics", lambda _: Path("a secret").read_text()
    )
    app = start(backend_url).switch_page(MODELS).run()
    assert "Something went wrong on this page." in page_text(app)
    assert "secret" not in page_text(app)
