"""Classifiers to measure: a model folder on this machine, or a backend at a URL."""
