"""The headers that name a caller."""

import pytest

from kubelite.api.auth.caller import Caller
from kubelite.api.http.aggregation.identity import (
    Unsendable,
    escaped,
    identity_headers,
    is_replaced,
)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("scopes", "scopes"),
        ("example.com/a b", "example.com%2Fa%20b"),
        ("100%", "100%25"),
        ("a:b\r\n", "a%3Ab%0D%0A"),
        ("é", "%C3%A9"),
        ("!#$&'*+-.^_`|~", "!#$&'*+-.^_`|~"),
    ],
)
def test_keys_of_extra_information_are_header_names(key: str, shown: str) -> None:
    assert escaped(key) == shown
    assert identity_headers(Caller("a", extra={key: ("v",)}))[-1] == (
        f"X-Remote-Extra-{shown}",
        "v",
    )


@pytest.mark.parametrize(
    "caller",
    [
        Caller("a\nb"),
        Caller("a\0"),
        Caller(" a"),
        Caller("a", groups=("g\r\nX-Remote-Group: system:masters",)),
        Caller("a", uid="u\x7f"),
        Caller("a", extra={"k": ("v ",)}),
    ],
)
def test_values_that_would_be_others_are_not_sent(caller: Caller) -> None:
    with pytest.raises(Unsendable, match="invalid header field value"):
        identity_headers(caller)


@pytest.mark.parametrize(
    ("name", "is_left_out"),
    [
        ("x-remote-user", True),
        ("x_remote_user", True),
        ("x-remote_extra-a", True),
        ("audit-id", True),
        ("x-forwarded-proto", True),
        ("x-remote", False),
        ("user-agent", False),
    ],
)
def test_what_clients_say_of_these_is_left_out(name: str, is_left_out: bool) -> None:
    assert is_replaced(name) is is_left_out
