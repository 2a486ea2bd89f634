"""Spans of the page."""

import pytest

from frontend.service import tracing


@pytest.mark.parametrize(
    ("variables", "is_enabled"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
    ],
    ids=str,
)
def test_standard_variables_enable_traces(variables: dict[str, str], is_enabled: bool) -> None:
    assert tracing.is_enabled(variables) is is_enabled
