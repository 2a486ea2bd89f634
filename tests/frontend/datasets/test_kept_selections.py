"""Selected images in the page's store."""

from dataclasses import replace

import pytest

from client import BackendUnreachable
from frontend.datasets import kept_selections
from frontend.datasets.selections import ImageSelection
from frontend.service.errors import UnreadableImageError
from frontend.service.predictions import ImageFile, PredictionRequest
from frontend.state.page_store import PageStore
from frontend.state.stored_result import StoredResult, StoreError
from tests.frontend.samples import MODEL, make_classification
from tests.images import SEVEN

REQUEST = PredictionRequest(MODEL, 0.95, members=(MODEL,))
SEVEN_RESULT = make_classification(("7", 0.9), ("1", 0.1), model_input=b"\x89PNG")


def select() -> ImageSelection:
    damaged = ImageFile("b.png", b"", "b.png is damaged.")
    selection = ImageSelection([ImageFile("a.png", SEVEN), damaged])
    selection.cache.put(selection.images[0], REQUEST, SEVEN_RESULT)
    selection.cache.put(damaged, REQUEST, UnreadableImageError("b.png is damaged."))
    return selection


def keep(selection: ImageSelection, request: PredictionRequest = REQUEST) -> None:
    kept_selections.keep(selection, request)
    kept_selections.wait()


def test_images_classifications_and_corrections_are_kept(store: PageStore) -> None:
    selection = select()
    selection.corrections["1"] = "4"
    keep(selection)
    found = kept_selections.find(selection.token)
    assert found is not None
    assert found.token == selection.token
    assert [(one.name, one.content, one.error) for one in found.images] == [
        ("a.png", SEVEN, None),
        ("b.png", b"", "b.png is damaged."),
    ]
    assert found.last_request == REQUEST
    assert found.outcomes(REQUEST) == [SEVEN_RESULT, None]  # errors are found again
    assert found.corrections == {"1": "4"}


def test_selection_is_stored_again_only_when_it_has_changed(
    store: PageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[str] = []
    put = PageStore.put

    def record(self: PageStore, token: str, kind: str, result: StoredResult) -> None:
        stored.append(token)
        put(self, token, kind, result)

    monkeypatch.setattr(PageStore, "put", record)
    selection = select()
    keep(selection)
    keep(selection)
    assert len(stored) == 1
    selection.corrections["1"] = "4"
    keep(selection)
    assert len(stored) == 2
    keep(selection, replace(REQUEST, coverage=0.9))
    assert len(stored) == 3


def test_discarded_selection_is_not_found(store: PageStore) -> None:
    selection = select()
    kept_selections.keep(selection, REQUEST)
    kept_selections.discard(selection)
    kept_selections.wait()
    assert kept_selections.find(selection.token) is None
    selection.corrections["1"] = "4"
    keep(selection)  # as a job does at its end
    assert kept_selections.find(selection.token) is None


def test_images_of_a_user_who_turned_storing_off_are_not_kept(store: PageStore) -> None:
    selection = select()
    keep(selection, replace(REQUEST, store=False))
    assert kept_selections.find(selection.token) is None


def test_large_selection_is_not_kept(store: PageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_selections, "MAX_BYTES", len(SEVEN) - 1)
    selection = select()
    keep(selection)
    assert kept_selections.find(selection.token) is None


def test_without_a_store_nothing_is_kept() -> None:
    selection = select()
    keep(selection)
    kept_selections.discard(selection)
    assert kept_selections.find(selection.token) is None


def test_damaged_content_and_a_failing_store_are_no_selection(
    store: PageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", kept_selections.KIND, StoredResult("done", "", content=b"damaged"))
    assert kept_selections.find("a") is None

    def refuse(*_: object) -> None:
        raise StoreError("OperationalError")

    monkeypatch.setattr(PageStore, "find", refuse)
    monkeypatch.setattr(PageStore, "put", refuse)
    monkeypatch.setattr(PageStore, "delete", refuse)
    selection = select()
    keep(selection)
    kept_selections.discard(selection)
    kept_selections.wait()
    assert kept_selections.find(selection.token) is None


def test_temporary_error_is_not_stored_as_a_classification(store: PageStore) -> None:
    selection = select()
    failed = BackendUnreachable("http://localhost:8000")
    selection.cache.put_always(selection.images[0], REQUEST, failed)
    keep(selection)
    found = kept_selections.find(selection.token)
    assert found is not None
    assert found.outcomes(REQUEST) == [None, None]
