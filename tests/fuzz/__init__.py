"""Fuzzing of the parsers: samples, mutations, targets, and the command that runs them."""
