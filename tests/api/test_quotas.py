"""Token buckets: what a quota allows, when it refuses, and what it reports."""

import pytest

from backend.api.errors import QuotaExceededError
from backend.api.quotas import TokenBucket, create_quotas
from backend.keys import parse_keys


def test_bucket_allows_its_capacity_at_once_and_then_refuses() -> None:
    bucket = TokenBucket("requests", 3, now=100.0)
    for _ in range(3):
        bucket.take(1, now=100.0)
    with pytest.raises(QuotaExceededError, match="3 requests per minute") as raised:
        bucket.take(1, now=100.0)
    assert raised.value.retry_after == pytest.approx(20)


def test_refused_unit_is_available_after_the_reported_time() -> None:
    bucket = TokenBucket("requests", 3, now=0.0)
    bucket.take(3, now=0.0)
    with pytest.raises(QuotaExceededError):
        bucket.take(1, now=19.9)
    bucket.take(1, now=20.1)


def test_bucket_never_holds_more_than_its_capacity() -> None:
    bucket = TokenBucket("requests", 3, now=0.0)
    bucket.take(3, now=3600.0)
    with pytest.raises(QuotaExceededError):
        bucket.take(1, now=3600.0)


def test_refusal_takes_nothing() -> None:
    bucket = TokenBucket("requests", 60, now=0.0)
    bucket.take(60, now=0.0)
    for _ in range(100):
        with pytest.raises(QuotaExceededError):
            bucket.take(1, now=0.5)
    bucket.take(1, now=1.5)


def test_unit_above_the_capacity_needs_a_full_bucket_and_is_paid_back() -> None:
    bucket = TokenBucket("megapixels", 6, now=0.0)
    bucket.take(1, now=0.0)
    with pytest.raises(QuotaExceededError) as raised:
        bucket.take(12, now=0.0)
    assert raised.value.retry_after == pytest.approx(10)
    bucket.take(12, now=10.1)  # 6 units are owed now
    with pytest.raises(QuotaExceededError) as raised:
        bucket.require(1e-6, now=10.1)
    assert raised.value.retry_after == pytest.approx(60, rel=0.01)


def test_headers_follow_the_draft_of_the_ietf() -> None:
    bucket = TokenBucket("requests", 60, now=0.0)
    bucket.take(15, now=0.0)
    assert bucket.policy() == '"requests";q=60;w=60'
    assert bucket.limit(now=0.0) == '"requests";r=45;t=15'
    pixels = TokenBucket("megapixels", 100, now=0.0)
    pixels.take(150, now=0.0)
    assert pixels.policy() == '"megapixels";q=100;w=60;qu="megapixels"'
    assert pixels.limit(now=0.0) == '"megapixels";r=0;t=90'


def test_keys_of_a_client_share_one_quota_and_others_have_none() -> None:
    a, b, c = (64 * digit for digit in "abc")
    quotas = create_quotas(parse_keys(f"page={a};requests=5,page={b};requests=5,{c}"))
    assert list(quotas) == ["page"]
