"""The inference core: image files in, classifications out. Needs no web framework."""
