"""The environment in which Kubernetes 1.36 evaluates expressions: all libraries, and no variables yet."""

from typing import Final

from kubelite.cel import optionals
from kubelite.cel.environment import Environment
from kubelite.cel.libraries import (
    authz,
    cidr,
    formats,
    ip,
    jsonpatch,
    list_extensions,
    lists,
    quantity,
    regex,
    semver,
    sets,
    strings,
    url,
)
from kubelite.cel.libraries import optionals as optional_lists

LIBRARIES: Final = (
    url.LIBRARY,
    regex.LIBRARY,
    lists.LIBRARY,
    authz.LIBRARY,
    optionals.LIBRARY,
    optional_lists.LIBRARY,
    quantity.LIBRARY,
    strings.LIBRARY,
    sets.LIBRARY,
    ip.LIBRARY,
    cidr.LIBRARY,
    formats.LIBRARY,
    optionals.TWO_VARIABLES,
    semver.LIBRARY,
    list_extensions.LIBRARY,
)
MUTATIONS: Final = (*LIBRARIES, jsonpatch.LIBRARY)  # with the patches that mutating policies make

BASE: Final = Environment(LIBRARIES)
"""What all others extend with their variables."""
