"""Numbers, truth values and times from clients: nothing but the documented notation is accepted."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from backend.api.parameters import parse_boolean, parse_integer, parse_number, parse_time
from tests.api.problems import problem
from tests.fake_models import serve, write_model
from tests.images import encoded, seven

SEVEN = encoded(seven())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("parameters") / "models"
    write_model(models)
    with serve(models) as client:
        yield client


# Accepted by Python's int() or float(), or by pydantic.
NOT_NUMBERS = ["", " ", "1_0", "+5", "٣", "１", " 5", "5 ", "5\n", "nan", "inf", "-inf", "Infinity"]
NOT_NUMBERS += ["0x1", "1e", ".", "-", "--1", "007", "9" * 5000, "5\0", "1,5", "true", "²"]


@pytest.mark.parametrize("text", [*NOT_NUMBERS, "5.0", "1e1", "0.5"])
def test_other_notations_are_no_integers(text: str) -> None:
    with pytest.raises(ValueError, match="integer"):
        parse_integer(text)


@pytest.mark.parametrize("text", [*NOT_NUMBERS, "1e999", ".5", "5.", "1" + "0" * 400])
def test_other_notations_are_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        parse_number(text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-5", -5), ("9" * 18, 10**18 - 1)])
def test_integers_are_parsed(text: str, value: int) -> None:
    assert parse_integer(text) == value


@pytest.mark.parametrize("text", ["0", "-5", "0.5", "-0.4242129623889923", "1e1", "2E-05", "1e+16"])
def test_numbers_of_json_are_parsed(text: str) -> None:
    assert parse_number(text) == float(text)


@pytest.mark.parametrize(
    "text",
    [
        *(*NOT_NUMBERS, "0.5", "5", "20260131", "2026-1-31", "2026-02-30", "2026-01-31T25:00Z"),
        *("2026-01-31 ", "2026-01-31T12", "2026-W05-6", "٢٠٢٦-01-31", "2026-01-31T12:00Z[UTC]"),
    ],
)
def test_other_notations_are_no_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|day|hour"):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31", datetime(2026, 1, 31)),
        ("2026-01-31T12:00:01.5z", datetime(2026, 1, 31, 12, 0, 1, 500_000, UTC)),
        ("2026-01-31T13:00+01:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_times_are_parsed(text: str, time: datetime) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize("text", ["", "yes", "on", "t", "TRUE ", " true", "2", "null", "01"])
def test_other_words_are_no_truth_values(text: str) -> None:
    with pytest.raises(ValueError, match="truth"):
        parse_boolean(text)


@pytest.mark.parametrize(
    "query",
    [
        *("top_k=1_0", "top_k=%2B5", "top_k=+5", "top_k=5.0", "top_k=1e1", "top_k=%D9%A3"),
        *("top_k=", "top_k=9" + "9" * 5000, "coverage=0.9_0", "coverage=+0.9", "coverage=9e1_"),
        *("probabilities=yes", "store=t", "store=", "model=" + "a" * 129),
        *("model=a&model=b", "top_k=1&top_k=1", "x=1&x=2"),
        *("model=%00", "x=%00", "%00=1", "model=%ff", "x=%ed%a0%80", "%ff"),
        "&".join([600 * "a" + "=1"] * 2),
        "&".join(f"x{i}=1" for i in range(101)),
    ],
)
@pytest.mark.parametrize("path", ["/classify", "/classify/batch"])
def test_invalid_query_returns_short_422(client: TestClient, path: str, query: str) -> None:
    response = client.post(f"{path}?{query}", files={"file": SEVEN})
    problem(response, 422, "invalid_parameter")
    assert len(response.content) < 500


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/predict"),
        ("POST", "/predict_nn/"),
        ("GET", "/models"),
        ("GET", "/models/fake"),
        ("GET", "/home"),
    ],
)
@pytest.mark.parametrize("query", ["model=%ff", "model=a&model=b", "model=%00"])
def test_every_route_checks_its_query(
    client: TestClient, method: str, path: str, query: str
) -> None:
    problem(client.request(method, f"{path}?{query}"), 422, "invalid_parameter")


@pytest.mark.parametrize("query", ["unknown=1", "top_k=3&utm_source=x", "a=1&a%20=2"])
def test_unknown_parameters_are_ignored(client: TestClient, query: str) -> None:
    assert client.post(f"/classify?{query}", files={"file": SEVEN}).status_code == 200


@pytest.mark.parametrize("value", ["true", "True", "1", "false", "False", "0"])
def test_truth_values_are_accepted(client: TestClient, value: str) -> None:
    response = client.post(f"/classify?probabilities={value}", files={"file": SEVEN})
    assert ("probabilities" in response.json()) == (value in {"true", "True", "1"})
