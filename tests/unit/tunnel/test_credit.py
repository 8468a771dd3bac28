"""Credit: however sender and receiver take turns, nothing is sent without credit, and none is lost for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.tunnel.credit import CREDIT_MAX, FIRST_CREDIT, ReceiveWindow, SendCredit
from kubelite.tunnel.frames import BrokenTunnel

WIDE = 4 * FIRST_CREDIT
STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "drain", "widen"]), st.integers(0, 2 * FIRST_CREDIT)),
    max_size=60,
)


@given(STEPS)
def test_credit_is_never_exceeded_and_never_lost(steps: list[tuple[str, int]]) -> None:
    credit, window = SendCredit(), ReceiveWindow()
    unsent = 0  # what the receiver's socket has not taken

    def grant() -> None:
        if more := window.grant(unsent):
            credit.grant(more)

    for step, count in steps:
        if step == "send":
            sent = credit.take(count)
            assert sent <= count
            window.receive(sent)
            unsent += sent
        elif step == "drain":
            unsent -= min(unsent, count)
        elif more := window.widen(WIDE):
            credit.grant(more)
        grant()
        assert credit.available + window.held == window.size
        assert unsent <= window.held <= window.size <= WIDE
    unsent = 0
    grant()
    assert credit.available * 2 > window.size  # so a sender never waits for ever


def test_a_sender_without_credit_breaks_the_protocol() -> None:
    window = ReceiveWindow()
    window.receive(FIRST_CREDIT)
    with pytest.raises(BrokenTunnel, match="exceeds the credit"):
        window.receive(1)


@pytest.mark.parametrize("more", [0, CREDIT_MAX - FIRST_CREDIT + 1, 0xFFFF_FFFF])
def test_a_receiver_cannot_grant_without_bound(more: int) -> None:
    with pytest.raises(BrokenTunnel, match="WINDOW grants"):
        SendCredit().grant(more)
