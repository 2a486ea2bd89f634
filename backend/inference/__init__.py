"""The core: bytes of a picture in, a prediction out. Knows no web framework and no settings."""
