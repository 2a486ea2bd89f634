"""API keys: `python -m backend.keys` prints a new key and its hash for PRISM_API_KEYS."""

import secrets
from hashlib import sha256


def hash_key(key: bytes) -> bytes:
    """Return the SHA-256 digest of an API key, 32 bytes."""
    return sha256(key).digest()


def main() -> None:
    """Print a new key and its hash."""
    key = secrets.token_urlsafe(32)
    print(f"key, for clients:         {key}")
    print(f"hash, for PRISM_API_KEYS: {hash_key(key.encode()).hex()}")


if __name__ == "__main__":
    main()
