"""One module per foreign protocol."""
