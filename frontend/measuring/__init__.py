"""Labelled pictures: kept, measured, and what was found, shown."""
