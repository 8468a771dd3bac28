"""Formats of names."""

import pytest

from kubelite.api.machinery import names


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (names.dns_label, ["a", "a-1", "9"], ["", "A", "a.b", "-a", "a" * 64]),
        (names.dns_subdomain, ["a.b", "a"], ["", "a..b", "a_b", "a" * 254]),
        (names.wildcard_subdomain, ["*.a.b"], ["a.b", "*", "*.A"]),
        (names.dns_1035_label, ["a1"], ["1a", ""]),
        (names.qualified_name, ["a", "x.io/a_B"], ["", "/a", "x.io/", "a/b/c", "X/a", "-"]),
        (names.label_value, ["", "a_B.c"], ["-", "a b", "a" * 64]),
        (names.c_identifier, ["_a1"], ["1a", ""]),
        (names.port_name, ["http", "a-1"], ["", "1", "a--b", "-a", "A", "a" * 16]),
        (names.percent, ["5%"], ["5", "%", "-1%"]),
        (names.environment_name, ["A.b", "1 x"], ["", "a=b", "ä"]),
        (names.config_key, ["a.b", ".a"], ["", ".", "..", "..a", "a/b"]),
        (names.path_segment, ["a"], [".", "..", "a/b", "a%"]),
        (names.http_header_name, ["X-A"], ["", "X_A"]),
        (names.domain_prefixed_path, ["a.io/b/c"], ["a", "a.io/", "A/b", "a.io/ "]),
    ],
)
def test_checks(check: object, good: list[str], bad: list[str]) -> None:
    assert callable(check)
    assert [value for value in good if check(value)] == []
    assert [value for value in bad if not check(value)] == []


def test_wording() -> None:
    assert names.dns_label("a.b") == ("must not contain dots",)
    assert names.dns_label("A")[0] == (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
        "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
        "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )
    assert names.port_number(0) == ("must be between 1 and 65535, inclusive",)
    assert names.identity_number(-1) == ("must be between 0 and 2147483647, inclusive",)
    assert names.masked_prefix("web-") == "weba"
