"""The processors and memory that the container may use."""
