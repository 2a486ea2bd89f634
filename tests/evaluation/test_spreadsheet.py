"""What goes into the cells of a table that a spreadsheet may open."""

import pytest

from evaluation.escaping import as_given, harmless


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "'=1", "''=1"])
def test_a_text_that_would_be_calculated_is_not(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert as_given(harmless(text)) == text


@pytest.mark.parametrize("text", ["", "7", "a=b", "'tis", "an image.png"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert harmless(text) == as_given(text) == text
