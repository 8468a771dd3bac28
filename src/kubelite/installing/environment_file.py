"""The environment file of a service: read by systemd as EnvironmentFile=, and by a shell for OpenRC."""

import re
from collections.abc import Mapping
from typing import Final

PREFIX: Final = "KUBELITE_"
PROXIES: Final = frozenset({"http_proxy", "https_proxy", "no_proxy"})  # in either case
_ESCAPED: Final = re.compile(r'(["\\`$])')
_LINE: Final = re.compile(
    r'^([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"$', re.MULTILINE | re.DOTALL
)


def is_taken_over(name: str) -> bool:
    """Return whether a variable of the caller's environment becomes one of the service's."""
    return name.startswith(PREFIX) or name.lower() in PROXIES


def environment_text(variables: Mapping[str, str]) -> str:
    """Return the file's text. Values have no control characters."""
    lines = [
        f'{name}="{_ESCAPED.sub(_ESCAPE, value)}"\n' for name, value in sorted(variables.items())
    ]
    return "".join(lines)


_ESCAPE: Final = r"\\\1"


def read_environment(text: str) -> dict[str, str]:
    """Return the variables of a text that `environment_text` has made; other lines are skipped."""
    return {
        found[1]: re.sub(r"\\(.)", r"\1", found[2], flags=re.DOTALL)
        for found in _LINE.finditer(text)
    }
