"""Every public function, method and class of the source is used in the source, or says here why it stays.

Names are compared, not what they mean: one that two things share counts for both. So what is found is dead, and what is
not found may be dead too.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "kubelite"

# Used by tests only, on purpose, or called by a library.
EXEMPT = {
    "FixedLookup": "the lookup of tests: a store's worth of objects without a store",
    "GroupResource": "a type of the API: found among all subclasses",
    "SetClock": "the clock of tests",
    "all_records": "a control of simulated containers",
    "at_once": "how tests run a decision of the scheduler in one go",
    "behave": "a control of simulated containers",
    "buffer_updated": "asyncio calls it",
    "readinto": "io calls it",
    "writable": "io calls it",
    "come_back": "a control of simulated nodes",
    "datagram_received": "asyncio calls it",
    "decrease": "a gauge can go down",
    "delayed": "how tests see what a queue holds back",
    "eof_received": "asyncio calls it",
    "error_received": "asyncio calls it",
    "first_address": "the address that tests give the API's own Service",
    "forbid_image": "a control of simulated nodes",
    "fresh_cluster": "pytest finds it by the plugin",
    "front_proxy_ca_pem": "what an aggregated server trusts; aggregation comes later",
    "get_buffer": "asyncio calls it",
    "go_away": "a control of simulated nodes",
    "is_connected": "how tests see that a tunnel is open",
    "only_the_server": "the certificate check of the node's port, for its composition",
    "pause_writing": "asyncio calls it",
    "resume_writing": "asyncio calls it",
    "rotate_signing_key": "keys are rotated by hand so far",
    "stream_count": "how tests see how many streams a tunnel carries",
    "trust": "authorities can be replaced while running",
    "trusted_by_hash": "checks what a join token names; joining comes later",
    "watch_count": "how tests see how many watches there are",
    "redirect_request": "urllib calls it",
    "write_cost": "the sum of what a write costs, which a test holds against the budget",
}


def modules() -> Iterator[ast.Module]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield ast.parse(path.read_text())


def defined(module: ast.Module) -> Iterator[str]:
    """Yield the public names of functions, methods and classes; what a decorator registers is used by it."""
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        is_registered = any(isinstance(one, ast.Call) for one in node.decorator_list)
        if not node.name.startswith("_") and not is_registered:
            yield node.name


def used(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.Constant(value=str() as name):
                yield name
            case _:
                continue


@cache
def unused() -> frozenset[str]:
    trees = list(modules())
    uses = Counter(name for tree in trees for name in used(tree))
    return frozenset(name for tree in trees for name in defined(tree) if not uses[name])


def test_nothing_public_is_dead() -> None:
    assert sorted(unused() - EXEMPT.keys()) == []


def test_no_exemption_is_stale() -> None:
    assert sorted(EXEMPT.keys() - unused()) == []
