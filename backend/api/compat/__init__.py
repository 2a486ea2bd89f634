"""Protocols of other services, one per file."""
