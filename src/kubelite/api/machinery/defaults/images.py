"""Image references, as far as defaults depend on them."""

import re

from kubelite.remembered import remembered

_SEGMENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_REFERENCE = re.compile(
    rf"(?:(?:{_HOST}|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_SEGMENT}(?:/{_SEGMENT})*"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
).fullmatch


@remembered(1024)
def pull_policy(image: str) -> str:
    """Return the default imagePullPolicy: Always for latest, or neither tag nor digest; else IfNotPresent."""
    matched = _REFERENCE(image)
    if matched is None:
        return "IfNotPresent"
    has_moving_tag = matched["tag"] == "latest" or not (matched["tag"] or matched["digest"])
    return "Always" if has_moving_tag else "IfNotPresent"
