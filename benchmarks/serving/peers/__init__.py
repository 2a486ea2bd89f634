"""Other ways to serve the same models, each as its documents show it; started as processes.

BENCH_MODEL names the model folder.
"""
