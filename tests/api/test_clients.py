import pytest

from backend.api.clients import KEY_NAME, client_at, client_of


def scope(forwarded: tuple[str, ...] = (), key: str | None = None) -> dict[str, object]:
    return {
        "client": ("10.0.0.1", 1234),
        "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
        "state": {KEY_NAME: key} if key else {},
    }


def test_client_is_the_address_of_the_connection() -> None:
    assert client_of(scope()) == "10.0.0.1"


def test_client_is_the_api_key_where_one_was_accepted() -> None:
    assert client_of(scope(("192.0.2.7",), key="page"), 1) == "key:page"


def test_forwarded_address_is_ignored_without_a_trusted_proxy() -> None:
    assert client_of(scope(("192.0.2.7",))) == "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "proxies", "client"),
    [
        (("192.0.2.7",), 1, "192.0.2.7"),
        (("198.51.100.1, 192.0.2.7",), 1, "192.0.2.7"),  # the client wrote the first address
        (("198.51.100.1", "192.0.2.7"), 1, "192.0.2.7"),
        (("198.51.100.1, 192.0.2.7, 10.0.0.9",), 2, "192.0.2.7"),
        (("2001:db8::1",), 1, "2001:db8::/64"),
        (("192.0.2.7",), 2, "10.0.0.1"),  # fewer entries than proxies
        (("unknown",), 1, "10.0.0.1"),
        (("fe80::1%any text",), 1, "10.0.0.1"),
        ((), 1, "10.0.0.1"),
    ],
)
def test_client_is_the_address_that_the_outermost_proxy_appended(
    forwarded: tuple[str, ...], proxies: int, client: str
) -> None:
    assert client_of(scope(forwarded), proxies) == client


def test_connections_of_an_ipv6_network_belong_to_one_client() -> None:
    assert client_at("2001:db8::1") == client_at("2001:db8::ffff:1") != client_at("2001:db9::1")
    assert client_at("::ffff:10.0.0.1") == client_at("10.0.0.1") == "10.0.0.1"
    assert client_at("fe80::1%eth0") == client_at("fe80::2")
    assert client_at("not:an:address") == "not:an:address"
