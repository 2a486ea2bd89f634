"""Model sources: a model address (path, https, gs, mlflow, wandb) -> a verified local model folder.

Fetching runs in a subprocess (`__main__.py`, started by `resolver.py`) because only that reliably
limits the time of name lookups, TLS handshakes and slow bodies, and because the service then needs
no memory for the clients and torch.
"""
