"""The service: an image classifier behind HTTP."""

__version__ = "0.1.0"
