"""The priority of API versions: general availability before beta before alpha, then the greater number.

Versions named otherwise come last, in alphabetical order. Source: version.CompareKubeAwareVersionStrings.
"""

import re

_VERSION = re.compile(r"v([0-9]+)(?:(alpha|beta)([0-9]+))?")
_STAGES = ("alpha", "beta", None)
_INT64_MAX = (1 << 63) - 1  # greater numbers are no numbers upstream


def version_priority(version: str) -> tuple[int, int, int, int, str]:
    """Return the sort key of a version: sorted by it, the version that clients prefer is the first."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return 1, 0, 0, 0, version
    major, minor = int(match[1]), int(match[3] or 0)
    if max(major, minor) > _INT64_MAX:
        return 1, 0, 0, 0, version
    return 0, -_STAGES.index(match[2]), -major, -minor, ""
