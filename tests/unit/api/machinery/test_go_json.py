"""JSON as Go writes it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.machinery.go_json import canonical_json, escaped_for_html


def test_what_go_escapes_is_escaped() -> None:
    value = {"b": "<a> & \u2028\u2029 é → €", "a": {"z": 1, "y": [True, None]}}
    assert canonical_json(value) == (
        '{"a":{"y":[true,null],"z":1},"b":"\\u003ca\\u003e \\u0026 \\u2028\\u2029 é → €"}'.encode()
    )


@given(st.recursive(st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_escaping_changes_no_value(value: object) -> None:
    plain = msgspec.json.encode(value)
    assert msgspec.json.decode(escaped_for_html(plain)) == value
