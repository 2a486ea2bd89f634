"""A memory of what was asked: answers in SQLite or PostgreSQL, with the corrections of people.

SQLAlchemy is slow to import, so only `store.py` and what it imports know it, and they are imported
by the thread of `writer.py`, once the service is up.
"""
