"""Messages about text that is not JSON, as Go's decoder words them."""

import msgspec
import pytest

from kubelite.api.machinery.json_errors import syntax_error


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected end of JSON input"),
        (b'{"a', "unexpected end of JSON input"),
        (b'{"a":[1,', "unexpected end of JSON input"),
        (b"tru", "unexpected end of JSON input"),
        (b"zzz", "invalid character 'z' looking for beginning of value"),
        (b"\xcfx", "invalid character 'Ï' looking for beginning of value"),
        (b"\x00", r"invalid character '\x00' looking for beginning of value"),
        (b"'", r"invalid character '\'' looking for beginning of value"),
        (b"[NaN]", "invalid character 'N' looking for beginning of value"),
        (b"{a}", "invalid character 'a' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":[1 2]}', "invalid character '2' after array element"),
        (b'[{"a":"]" "b":1}]', "invalid character '\"' after object key:value pair"),
        (b'[{"a":"\\"[" "b":1}]', "invalid character '\"' after object key:value pair"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b'["a\tb"]', r"invalid character '\t' in string literal"),
        (b'["\\q"]', "invalid character 'q' in string escape code"),
        (b"[trux]", "invalid character 'x' in literal true (expecting 'e')"),
        (b"[-a]", "invalid character 'a' in numeric literal"),
    ],
)
def test_the_message_is_that_of_go(body: bytes, said: str) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        msgspec.json.decode(body)
    assert syntax_error(body) == said


def test_a_deep_body_is_no_error_of_its_own() -> None:
    assert syntax_error(b"[" * 100_000) in ("exceeded max depth", "unexpected end of JSON input")
