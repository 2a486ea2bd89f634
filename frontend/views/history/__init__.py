"""The History page: list, filter, correct, delete and export stored classifications."""
