"""The Models page: the served models, their metrics and model cards."""
