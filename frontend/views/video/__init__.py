"""A clip: its frames from a process of its own, what a model says of them, captions, a table."""
