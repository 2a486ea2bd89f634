"""Benchmarks: Prism, what others would serve the same model with, and what the machine could do.

Nothing of the project is imported here: Prism is started as a process, as its users start it.
"""
