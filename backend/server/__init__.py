"""The server process: entry point, lifecycle, connections and workers."""
