"""History of classifications and feedback in SQLite or PostgreSQL.

SQLAlchemy is slow to import: only `store.py` and the modules below it import it, and the thread of
`writer.py` imports them once the service is up.
"""
