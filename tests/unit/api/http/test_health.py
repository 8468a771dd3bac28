"""Health endpoints."""

import pytest

from kubelite.api.errors import NotFound
from kubelite.api.http.health import Health

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
