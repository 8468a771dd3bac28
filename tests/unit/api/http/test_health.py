"""Health endpoints."""

import pytest

from kubelite.api.errors import NotFound
from kubelite.api.http.health import HEALTH_REGISTRY, Health, live_checks, ready_checks
from kubelite.clock import SystemClock
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine

health = Health("readyz", {"store": lambda: "disk is full", "loop": lambda: ""})
well = Health("livez", {"loop": lambda: ""})


def test_all_is_well() -> None:
    assert well.answer({}).body == b"ok"
    verbose = well.answer({"verbose": [""]})
    assert verbose.body.decode() == "[+]ping ok\n[+]loop ok\nlivez check passed\n"


def test_a_failure_names_the_check_but_not_the_reason() -> None:
    reply = health.answer({})
    assert reply.status == 500
    assert b"[-]store failed: reason withheld" in reply.body
    assert b"disk" not in reply.body


def test_checks_can_be_left_out() -> None:
    assert health.answer({"exclude": ["store"]}).status == 200
    reply = health.answer({"exclude": ["store", "stork"], "verbose": [""]})
    assert b"[+]store excluded: ok" in reply.body
    assert b'no matches for "stork"' in reply.body


def test_single_checks() -> None:
    assert health.answer_one("ping").body == b"ok"
    assert health.answer_one("store").status == 500
    with pytest.raises(NotFound):
        health.answer_one("none")


def test_runs_are_service_level_indicators() -> None:
    answers = iter(("", "disk is full"))
    checks = Health("startz", {"store": lambda: next(answers)})
    checks.answer({})
    checks.answer({})
    checks.answer({"exclude": ["store"]})
    shown = HEALTH_REGISTRY.exposition()
    for line in (
        'kubernetes_healthcheck{name="store",type="startz"} 0',
        'kubernetes_healthcheck{name="ping",type="startz"} 1',
        'kubernetes_healthchecks_total{name="store",type="startz",status="success"} 1',
        'kubernetes_healthchecks_total{name="store",type="startz",status="error"} 1',
        'kubernetes_healthchecks_total{name="ping",type="startz",status="success"} 3',
        "process_start_time_seconds ",
    ):
        assert f"\n{line}" in shown


class FullStore(EmbeddedStore):
    """A store that can be read and not written."""

    @property
    def problem(self) -> str:
        return "No space left on device"


async def test_the_checks_have_the_names_of_kubernetes() -> None:
    store = FullStore(MemoryEngine(), clock=SystemClock())
    live, ready = live_checks(store), ready_checks(store)
    for endpoint in (Health("healthz", live), Health("livez", live)):
        for name in ("ping", "log", "etcd"):
            assert endpoint.answer_one(name).status == 200
        assert endpoint.answer({}).status == 200  # a full disk is no reason to start anew
        assert endpoint.answer({"exclude": ["etcd"]}).status == 200
    readyz = Health("readyz", {**live, **ready})
    assert [readyz.answer_one(name).status for name in ("ping", "log", "etcd")] == [200, 200, 500]
    assert readyz.answer_one("etcd-readiness").status == 500
    assert readyz.answer({}).status == 500
    assert readyz.answer({"exclude": ["etcd", "etcd-readiness"]}).status == 200
    await store.close()
