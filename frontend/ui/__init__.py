"""Presentation: components, charts, alerts and formatting."""
