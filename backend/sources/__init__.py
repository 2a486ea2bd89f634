"""A model address (path, https, gs) -> a verified local model folder.

address.py    the text that the operator writes, parsed
remote.py     what gives files under an address: sink, protocol, local files
https.py      the same over HTTPS, from public addresses only
gcs.py        the same from Google Cloud Storage
cache.py      verified copies on disk: atomic, locked, bounded
fetch.py      an address -> a folder of the cache; blocks
__main__.py   fetch.py as a process of its own
library.py    what the service holds: runs that process, bounds its time, ends it on shutdown

A process of its own, since nothing else ends a name lookup, a handshake or a body that trickles in
at a given time, and since the clients and torch then cost the service no memory.
"""
