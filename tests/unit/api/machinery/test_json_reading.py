import pytest

from kubelite.api.errors import BadRequest, RequestEntityTooLarge
from kubelite.api.machinery.json_reading import DEPTH_LIMIT, expecting, read_json
from kubelite.limits import CAUSES_TEXT


def test_a_body_is_decoded() -> None:
    assert read_json(b'{"a": [1, 1.5, null]}').value == {"a": [1, 1.5, None]}


@pytest.mark.parametrize(
    ("body", "duplicates"),
    [
        (b'{"a":1,"b":{"a":1}}', ()),
        (b'{"a":1,"a":2}', ("a",)),
        (b'{"a" : 1, "a": 2}', ("a",)),
        (b'{"a":{"b":[{"c":1},{"c":1,"c":2}]}}', ("a.b[1].c",)),
        (b'{"a":"{\\"b\\":1}","b":1}', ()),
        (b'{"a":"{\\"b\\":1}","b":1,"b":2}', ("b",)),
        (b'{"a\\\\":1,"a\\\\":2}', ("a\\",)),
        (b'{"a\\\\":1,"b":"\\":"}', ()),
        (b'{"a":"\\u0022:","b":1,"b":1}', ("b",)),
        (b'{"a"\n:1,"a"\n:1,"b":"\\":"}', ("a",)),
    ],
)
def test_keys_written_twice_are_found(body: bytes, duplicates: tuple[str, ...]) -> None:
    reading = read_json(body, find_duplicates=True)
    assert reading.duplicates == tuple(f'duplicate field "{path}"' for path in duplicates)


def test_they_are_only_sought_when_asked_for() -> None:
    assert read_json(b'{"a":1,"a":2}').duplicates == ()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"a":',
            (
                "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; "
                'json parse error: unexpected end of JSON input ({"a":)'
            ),
        ),
        (
            b"",
            (
                "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; "
                "json parse error: unexpected end of JSON input (<empty>)"
            ),
        ),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_json(body, refuse=expecting("Pod"))
    assert refused.value.message == message


def test_the_summary_of_a_body_is_short() -> None:
    with pytest.raises(BadRequest, match=r"\(" + "61" * 30 + r" \.\.\.\)"):
        read_json(b"a" * 100)
    with pytest.raises(BadRequest, match=r"invalid"):
        read_json(b'{"a": "\xff"}')


@pytest.mark.parametrize("depth", [DEPTH_LIMIT + 2, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(BadRequest, match="exceeded max depth"):
        read_json(b"[" * depth + b"]" * depth)


def test_wide_bodies_are_not_deep() -> None:
    assert len(read_json(b"[" + b"[],[],{}," * 1000 + b"1]").value) == 3001


def test_a_body_of_many_values_is_refused() -> None:
    with pytest.raises(RequestEntityTooLarge):
        read_json(b"[" + b"{}," * 700_000 + b"{}]")


def test_sentences_about_keys_below_a_long_one_stay_short_together() -> None:
    inner = ",".join(f'"a{index}":1,"a{index}":1' for index in range(100))
    body = f'{{"{"x" * 1_000_000}":{{{inner}}}}}'.encode()
    duplicates = read_json(body, find_duplicates=True).duplicates
    assert 0 < sum(map(len, duplicates)) <= CAUSES_TEXT.value


def test_integers_of_thousands_of_digits_are_refused() -> None:
    with pytest.raises(BadRequest, match="out of range"):
        read_json(b'{"a":' + b"1" * 5000 + b',"a":1}', find_duplicates=True)
