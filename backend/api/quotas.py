"""Quotas of API keys: requests and megapixels per minute, as token buckets.

A bucket holds the quota of one minute and fills up evenly. Each worker process counts for itself.
"""

import math
import time
from collections.abc import Sequence
from typing import Final

from starlette.types import Scope

from backend.api.errors import QuotaExceededError
from backend.inference.images.pixel_count import count_pixels
from backend.keys import ApiKey

# Key of a request's state: the ClientQuota of its API key. QuotaMiddleware sets it.
QUOTA: Final = "quota"

_WINDOW: Final = 60  # seconds
_PIXELS: Final = 1e6  # per megapixel
_now: Final = time.monotonic


class TokenBucket:
    """`capacity` units per minute. More units than remain may be taken: the rest is a debt."""

    def __init__(self, unit: str, capacity: int, now: float) -> None:
        self.unit: Final = unit
        self.capacity: Final = capacity
        self._rate = capacity / _WINDOW  # units per second
        self._level = float(capacity)
        self._updated_at = now

    def take(self, amount: float, now: float) -> None:
        """Take `amount` units.

        More than `capacity` can be taken only from a full bucket, whose debt is then paid back
        over time. Raise QuotaExceededError if too few units are left.
        """
        self.require(min(amount, self.capacity), now)
        self._level -= amount

    def require(self, amount: float, now: float) -> None:
        """Raise QuotaExceededError unless `amount` units are left."""
        self._refill(now)
        missing = amount - self._level
        if missing > 0:
            raise QuotaExceededError(
                f"The API key may use {self.capacity:,} {self.unit} per minute. Try again later, "
                "or ask the operator of the service for a larger quota.",
                retry_after=missing / self._rate,
            )

    def policy(self) -> str:
        """Return the bucket's item of RateLimit-Policy."""
        unit = "" if self.unit == "requests" else f';qu="{self.unit}"'
        return f'"{self.unit}";q={self.capacity};w={_WINDOW}{unit}'

    def limit(self, now: float) -> str:
        """Return the bucket's item of RateLimit: remaining units, seconds until it is full."""
        self._refill(now)
        seconds = math.ceil((self.capacity - self._level) / self._rate)
        return f'"{self.unit}";r={max(0, math.floor(self._level))};t={seconds}'

    def _refill(self, now: float) -> None:
        self._level = min(self.capacity, self._level + (now - self._updated_at) * self._rate)
        self._updated_at = now


class ClientQuota:
    """The quotas of one client, which all its keys share."""

    def __init__(self, key: ApiKey) -> None:
        now = _now()
        self._requests = TokenBucket("requests", key.requests, now) if key.requests else None
        self._pixels = TokenBucket("megapixels", key.megapixels, now) if key.megapixels else None
        self._buckets = [one for one in (self._requests, self._pixels) if one is not None]
        self._policy = ", ".join(bucket.policy() for bucket in self._buckets).encode()

    def take_request(self) -> None:
        """Count a request; raise QuotaExceededError if none is left."""
        if self._requests is not None:
            self._requests.take(1, _now())

    def require_pixels(self) -> None:
        """Raise QuotaExceededError if no pixels are left."""
        if self._pixels is not None:
            self._pixels.require(1 / _PIXELS, _now())

    def take_pixels(self, count: int) -> None:
        """Count the pixels of an image; raise QuotaExceededError if too few are left."""
        if self._pixels is not None:
            self._pixels.take(count / _PIXELS, _now())

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers RateLimit-Policy and RateLimit.

        Source: draft-ietf-httpapi-ratelimit-headers-10.
        """
        now = _now()
        limit = ", ".join(bucket.limit(now) for bucket in self._buckets)
        return [(b"ratelimit-policy", self._policy), (b"ratelimit", limit.encode())]


def create_quotas(keys: Sequence[ApiKey]) -> dict[str, ClientQuota]:
    """Return the quotas by the name of the client; clients without a quota are missing."""
    return {key.name: ClientQuota(key) for key in keys if key.requests or key.megapixels}


def require_pixels(scope: Scope) -> None:
    """Raise QuotaExceededError if the request's API key has no pixels left."""
    if quota := _quota_of(scope):
        quota.require_pixels()


def take_pixels(scope: Scope, count: int) -> None:
    """Count pixels for the request's API key; raise QuotaExceededError if too few are left."""
    if quota := _quota_of(scope):
        quota.take_pixels(count)


def take_image(scope: Scope, data: bytes, max_pixels: int) -> None:
    """Count the pixels of an image file of at most `max_pixels`; raise as `take_pixels` does."""
    if quota := _quota_of(scope):
        quota.take_pixels(count_pixels(data, max_pixels))


def _quota_of(scope: Scope) -> ClientQuota | None:
    quota: ClientQuota | None = scope["state"].get(QUOTA)
    return quota
