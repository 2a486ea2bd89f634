"""Tests of the classes that a confusion matrix shows."""

import numpy as np

from evaluation.confusion import restrict


def test_classes_that_do_not_occur_are_omitted() -> None:
    matrix = np.array([[3, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]])
    kept, labels = restrict(matrix, ("a", "b", "c", "d"))
    assert labels == ("a", "c", "d")
    assert kept.tolist() == [[3, 1, 0], [0, 0, 0], [0, 0, 2]]


def test_the_most_confused_classes_are_kept_in_order() -> None:
    matrix = np.diag([9, 8, 7, 6])
    matrix[3, 1] = 2
    kept, labels = restrict(matrix, ("a", "b", "c", "d"), 2)
    assert labels == ("b", "d")
    assert kept.tolist() == [[8, 0], [2, 6]]


def test_negative_changes_count() -> None:
    _, labels = restrict(np.array([[-1, 1, 0], [0, 0, 0], [0, 0, 0]]), ("a", "b", "c"))
    assert labels == ("a", "b")


def test_matrix_without_values_is_empty() -> None:
    kept, labels = restrict(np.zeros((3, 3), np.intp), ("a", "b", "c"))
    assert kept.shape == (0, 0)
    assert labels == ()
