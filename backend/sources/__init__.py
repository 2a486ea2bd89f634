"""Model sources: a model address (path, https, gs) -> a verified local model folder.

address.py    parsing of addresses
remote.py     the protocol of remotes, downloaded files, checkpoints on local disk
https.py      downloads over HTTPS, from public IP addresses only
gcs.py        downloads from Google Cloud Storage
cache.py      verified copies on disk: atomic, locked, bounded
fetch.py      an address -> a folder of the cache; blocking
__main__.py   fetch.py as a subprocess
resolver.py   runs that subprocess with a timeout, and ends it on shutdown

Fetching runs in a subprocess because only that reliably limits the time of name lookups, TLS
handshakes and slow bodies, and because the service then needs no memory for the clients and torch.
"""
