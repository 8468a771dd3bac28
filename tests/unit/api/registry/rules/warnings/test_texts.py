"""Warnings about addresses, ranges, amounts and names."""

import pytest

from kubelite.api.registry.rules.warnings import texts


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("10.9.8.7", ""),
        ("2001:db8::ffff", ""),
        ("no address", ""),
        ("010.9.08.7", 'ip: non-standard IP address "010.9.08.7" is invalid: use "10.9.8.7"'),
        (
            "::ffff:10.9.8.7",
            'ip: non-standard IP address "::ffff:10.9.8.7" is invalid: use "10.9.8.7"',
        ),
        (
            "2001:DB8:0::1",
            (
                'ip: IPv6 address "2001:DB8:0::1" should be in RFC 5952 canonical format '
                '("2001:db8::1")'
            ),
        ),
    ],
)
def test_addresses(text: str, warning: str) -> None:
    assert list(texts.odd_address("ip", text)) == [warning] * bool(warning)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("10.0.0.0/8", []),
        ("2001:db8::/64", []),
        ("nothing", []),
        ("10.0.0.0/33", []),
        (
            "10.1.0.0/8",
            [
                (
                    'at: CIDR value "10.1.0.0/8" is ambiguous in this context '
                    '(should be "10.0.0.0/8" or "10.1.0.0/32"?)'
                )
            ],
        ),
        (
            "010.0.0.0/8",
            ['at: non-standard CIDR value "010.0.0.0/8" is invalid: use "10.0.0.0/8"'],
        ),
        (
            "10.0.0.0/08",
            ['at: non-standard CIDR value "10.0.0.0/08" is invalid: use "10.0.0.0/8"'],
        ),
        (
            "::ffff:10.0.0.0/104",
            ['at: non-standard CIDR value "::ffff:10.0.0.0/104" is invalid: use "10.0.0.0/8"'],
        ),
        (
            "010.1.0.0/8",
            [
                (
                    'at: CIDR value "010.1.0.0/8" is ambiguous in this context '
                    '(should be "10.0.0.0/8" or "10.1.0.0/32"?)'
                ),
                'at: non-standard CIDR value "010.1.0.0/8" is invalid: use "10.0.0.0/8"',
            ],
        ),
        (
            "2001:DB8::/64",
            [
                (
                    'at: IPv6 CIDR value "2001:DB8::/64" should be in RFC 5952 canonical format '
                    '("2001:db8::/64")'
                )
            ],
        ),
    ],
)
def test_ranges(text: str, warnings: list[str]) -> None:
    assert list(texts.odd_range("at", text)) == warnings


def test_bytes_are_whole_numbers() -> None:
    amounts = {"memory": "1500m", "ephemeral-storage": "1.5Ki", "cpu": "100m"}
    assert list(texts.fractional("limits", amounts, "memory", "ephemeral-storage")) == [
        'limits[memory]: fractional byte value "1500m" is invalid, must be an integer'
    ]


def test_a_name_that_is_no_label() -> None:
    assert list(texts.surprising_name({"metadata": {"name": "web.1"}}, "the Pod's hostname")) == [
        (
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
            "a DNS label is recommended: [must not contain dots]"
        )
    ]
