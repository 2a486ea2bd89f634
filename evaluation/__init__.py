"""Evaluation of image classifiers, local or served, on labeled images."""
