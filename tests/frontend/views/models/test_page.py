"""The page of the models without a browser."""

from pathlib import Path

import pytest

from client import Client
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import models, shown
from tests.frontend.conftest import Start

MODELS = "views/models/page.py"


def test_each_model_has_its_state_its_figures_and_its_card(start: Start, backend_url: str) -> None:
    app = start(backend_url).switch_page(MODELS).run()
    with Client(backend_url) as client:
        served = client.models().models
    text = shown(app)
    assert f"{len(served)} models are served" in text
    for model in served:
        assert model.title in [heading.value.replace("\\", "") for heading in app.subheader]
        assert model.description in text
        accuracy = f"{100 * model.metrics['test_accuracy']:.2f} %"
        assert accuracy in [metric.value for metric in app.metric]
        assert f"| Right on its test set | {accuracy} |" in text
        assert f"#### {model.name}" in text  # its card
    assert text.count("Ready") == len(served)


def test_another_model_is_used_at_a_click(start: Start, backend_url: str) -> None:
    app = start(backend_url).switch_page(MODELS).run()
    app.button(key="use mnist-mlp").click().run()
    assert app.query_params["model"] == "mnist-mlp"
    assert app.sidebar.selectbox[0].value == "mnist-mlp"
    assert "use mnist-cnn" in [button.key for button in app.button]


def test_a_model_that_failed_says_why(start: Start) -> None:
    with serving(models(good="digit", bad="failed")) as (url, _):
        app = start(url).switch_page(MODELS).run()
        assert "The weights are damaged." in shown(app)
        assert ":red-badge" in shown(app)


def test_several_models_may_be_loading(start: Start) -> None:
    with serving(models(one="loading", two="loading")) as (url, _):
        app = start(url).switch_page(MODELS).run()
        assert "The model ONE is still loading." in shown(app)
        assert "The model TWO is still loading." in shown(app)


def test_many_classes_are_counted_and_not_all_named(start: Start) -> None:
    answer = models(big="image")
    body = answer.body.replace(b'["0", "1"]', b"[%s]" % b",".join(b'"k%d"' % i for i in range(999)))
    with serving(FakeResponse(body)) as (url, _):
        app = start(url).switch_page(MODELS).run()
        assert "k199 and 799 more" in shown(app)
        assert "k200" not in shown(app)


def test_without_a_backend_the_page_says_how_to_start_it(start: Start) -> None:
    app = start(f"http://127.0.0.1:{free_port()}").switch_page(MODELS).run()
    assert "`make run`" in app.error[0].value


def test_a_page_that_fails_says_so_in_words_of_its_own(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "frontend.views.models.model_summary.headline", lambda _: Path("a secret").read_text()
    )
    app = start(backend_url).switch_page(MODELS).run()
    assert "Something went wrong on this page." in shown(app)
    assert "secret" not in shown(app)
