"""Other servers for the same models, started as processes with BENCH_MODEL=MODEL_FOLDER."""
