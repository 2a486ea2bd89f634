"""Converters of other frameworks, which run in environments of their own."""
