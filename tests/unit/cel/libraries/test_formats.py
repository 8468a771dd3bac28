"""Named formats."""

import pytest

from kubelite.cel.libraries import formats
from kubelite.cel.values import NONE, Optional


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("dns1123Label", "my-name", ""),
        ("dns1123Label", "a.b", "must not contain dots"),
        ("dns1123Label", "a" * 64, "must be no more than 63 characters"),
        ("dns1123Subdomain", "a..b", "a lowercase RFC 1123 subdomain must consist of"),
        ("dns1035Label", "1abc", "a DNS-1035 label must consist of"),
        ("qualifiedName", "a/b", ""),
        ("qualifiedName", "/x", "prefix part must be non-empty"),
        ("dns1123LabelPrefix", "abc-", ""),
        ("dns1123LabelPrefix", "-", "a lowercase RFC 1123 label must consist of"),
        ("dns1035LabelPrefix", "1-", ""),
        ("dns1123SubdomainPrefix", "a.b-", ""),
        ("labelValue", "", ""),
        ("labelValue", "a b", "a valid label must be an empty string or consist of"),
        ("uri", "https://x", ""),
        ("uri", "", 'parse "": empty url'),
        ("uuid", "123e4567-E89b-12d3a456-426614174000", ""),
        ("uuid", "123e4567", "does not match the UUID format"),
        ("byte", "YWI=", ""),
        ("byte", "*", "invalid base64"),
        ("date", "2024-02-29", ""),
        ("date", "2023-02-29", "invalid date"),
        ("datetime", "2024-01-01T00:00:00Z", ""),
        ("datetime", "2024", "invalid datetime"),
    ],
)
def test_findings(name: str, text: str, finding: str) -> None:
    found = formats.validate(formats.FORMATS[name], text)
    if finding:
        assert found.value[0].startswith(finding)
    else:
        assert found is NONE


def test_formats_by_name() -> None:
    assert formats.named("uuid") == Optional(formats.FORMATS["uuid"])
    assert formats.named("nope") is NONE
    assert len(set(formats.FORMATS.values())) == len(formats.FORMATS) == 13


def test_checks_of_long_texts_are_linear() -> None:
    text = "a-" * 200_000
    for each in formats.FORMATS.values():
        assert formats.validate(each, text).has_value
