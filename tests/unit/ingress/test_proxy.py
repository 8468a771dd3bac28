"""Lines of the access log."""

import pytest

from kubelite.ingress.proxy import LOGGED_TEXT_MAX, shown


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"/a?b", b"/a?b"),
        (b"/\x1b[31m\n\xff ", b"/?[31m???"),
        (b"x" * 1000, b"x" * LOGGED_TEXT_MAX + b"..."),
    ],
)
def test_a_line_has_no_escapes_and_an_end(text: bytes, wanted: bytes) -> None:
    assert shown(text) == wanted
