"""Predictors: a local model folder, or a model served by a backend."""
