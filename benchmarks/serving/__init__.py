"""Benchmarks that compare Prism with other servers and with the limits of the machine."""
