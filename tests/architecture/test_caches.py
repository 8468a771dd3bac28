"""No cache is keyed by texts of any length: `lru_cache` counts entries, not bytes, so `remembered` stands before it."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "kubelite"
# Caches whose callers see to the length of what they ask, or whose keys nobody outside makes up.
BOUNDED = {
    "remembered.py": "is the bound itself",
    "api/auth/audit.py": "keyed by a status code",
    "api/http/metrics.py": "keyed by what is served, and verbs of at most 16 characters",
    "api/http/negotiation.py": "media_of asks about headers up to CACHED_HEADER_LENGTH_MAX only",
    "api/http/request.py": "parse asks about paths up to CACHED_PATH_LENGTH_MAX only",
    "api/kinds/catalog.py": "has no key",
    "api/machinery/explanations.py": "keyed by files of the package",
    "api/machinery/protobuf.py": "keyed by types, or without a key",
    "api/machinery/admission_expressions.py": "keyed by two booleans",
    "api/machinery/quantity.py": "parse_quantity asks about texts up to _LENGTH_LIMIT only",
    "api/machinery/selectors.py": "parse_selector asks about texts up to 512 characters only",
    "config.py": "takes no argument",
    "grpc/hpack.py": "has no key",
    "grpc/protobuf.py": "keyed by types",
    "control/policy_types.py": "has no key",
    "control/scheduler/requests.py": "keyed by validated names and canonical quantities",
    "net/netlink.py": "has no key",
}


def test_caches_are_bounded_in_bytes() -> None:
    using = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module != "functools":
                continue
            if {alias.name for alias in node.names} & {"lru_cache", "cache"}:
                using.add(path.relative_to(SOURCE).as_posix())
    assert not using - BOUNDED.keys(), "use kubelite.remembered, or say here why it is bounded"
    assert not BOUNDED.keys() - using, "no longer a cache: take it off the list"
