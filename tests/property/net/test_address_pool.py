"""No two owners share an address, whatever is asked in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from kubelite.net.addresses import AddressesExhausted, AddressPool

OWNERS = st.sampled_from("abcdefgh")


@given(
    st.lists(
        st.tuples(st.sampled_from(["allocate", "release", "reserve"]), OWNERS, st.integers(0, 9))
    )
)
def test_addresses_are_never_shared(steps: list[tuple[str, str, int]]) -> None:
    pool = AddressPool("10.42.0.0/29")
    held: dict[str, tuple[str, ...]] = {}
    for step, owner, number in steps:
        if step == "release":
            pool.release(owner)
            held.pop(owner, None)
        elif step == "reserve":
            if pool.reserve(owner, [f"10.42.0.{number}"]):
                held[owner] = (f"10.42.0.{number}",)
        else:
            try:
                held[owner] = pool.allocate(owner)
            except AddressesExhausted:
                assert len(held) == 5
        assert len(set(held.values())) == len(held)
        assert all(pool.get(name) == address for name, address in held.items())
        assert not set(held.values()) & {("10.42.0.0",), ("10.42.0.1",), ("10.42.0.7",)}
