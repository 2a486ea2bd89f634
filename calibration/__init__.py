"""Calibration of classifiers: `apply` for serving (numpy) and `fit` for training (scipy)."""
