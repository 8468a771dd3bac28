"""URLs in expressions."""

import pytest

from kubelite.cel.libraries import url
from kubelite.cel.values import EvaluationFailed


def test_urls_are_equal_if_they_are_written_alike() -> None:
    assert url.parse("HTTPS://a/") == url.parse("https://a/")
    assert url.parse("https://a") != url.parse("https://a/")
    assert len({url.parse("HTTPS://a/"), url.parse("https://a/")}) == 1
    assert str(url.parse("https://a/b c")) == "https://a/b%20c"


def test_what_is_no_url_says_why() -> None:
    assert not url.is_url("no")
    with pytest.raises(EvaluationFailed) as failure:
        url.parse("no")
    expected = 'URL parse error during conversion from string: parse "no": invalid URI for request'
    assert failure.value.text == expected
