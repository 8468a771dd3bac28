"""Semantic versions."""

import pytest

from kubelite.cel.libraries import semver
from kubelite.cel.values import EvaluationFailed

ORDERED = [
    "0.0.0",
    "1.0.0-1",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.10.0",
    "2.0.0",
]


def test_order() -> None:
    versions = list(map(semver.parse, ORDERED))
    for index, version in enumerate(versions):
        for other_index, other in enumerate(versions):
            expected = (index > other_index) - (index < other_index)
            assert semver.compare(version, other) == expected


def test_the_build_does_not_matter() -> None:
    assert semver.parse("1.2.3") == semver.parse("1.2.3+b")
    assert len({semver.parse("1.2.3+a"), semver.parse("1.2.3+b")}) == 1


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("v1.2.3", "1.2.3"),
        ("1", "1.0.0"),
        ("1.2", "1.2.0"),
        ("01.02.03", "1.2.3"),
        ("00.0.000", "0.0.0"),
        ("v1.0.0-rc.1+b", "1.0.0-rc.1+b"),
        ("1.2.0-rc", "1.2.0-rc"),
    ],
)
def test_normalization(text: str, normalized: str) -> None:
    assert str(semver.parse(text, True)) == normalized


@pytest.mark.parametrize(
    ("text", "normalize", "message"),
    [
        ("", False, "Version string empty"),
        ("1.2", False, "No Major.Minor.Patch elements found"),
        ("v1.2.3", False, 'Invalid character(s) found in major number "v1"'),
        ("1.x.3", False, 'Invalid character(s) found in minor number "x"'),
        ("1.2.3.4", False, 'Invalid character(s) found in patch number "3.4"'),
        ("01.2.3", False, 'Major number must not contain leading zeroes "01"'),
        ("1.2.03", False, 'Patch number must not contain leading zeroes "03"'),
        ("1..3", False, 'strconv.ParseUint: parsing "": invalid syntax'),
        (
            "99999999999999999999.0.0",
            False,
            'strconv.ParseUint: parsing "99999999999999999999": value out of range',
        ),
        ("1.2.3-01", False, 'Numeric PreRelease version must not contain leading zeroes "01"'),
        ("1.2.3-", False, "Prerelease is empty"),
        ("1.2.3-a_b", False, 'Invalid character(s) found in prerelease "a_b"'),
        ("1.2.3+", False, "Build meta data is empty"),
        ("1.2.3+a_b", False, 'Invalid character(s) found in build meta data "a_b"'),
        ("1-rc", True, "short version cannot contain PreRelease/Build meta data"),
        (" 1.2.3", True, 'Invalid character(s) found in major number "0 1"'),
    ],
)
def test_what_is_no_version(text: str, normalize: bool, message: str) -> None:
    assert not semver.is_semver(text, normalize)
    with pytest.raises(EvaluationFailed) as failure:
        semver.parse(text, normalize)
    assert failure.value.text == message
