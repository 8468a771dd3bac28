from kubelite.api.registry.rules.difference import LINES_MAX, difference


def test_what_goes_and_what_comes_is_shown_by_path() -> None:
    before = {"a": 1, "b": [{"name": "x", "args": ["1"]}], "same": {"c": True}}
    after = {"b": [{"name": "y", "args": ["1", "2"]}], "d": {"e": "f"}, "same": {"c": True}}
    assert difference(before, after).splitlines() == [
        "- a: 1",
        '+ b[0].args[1]: "2"',
        '- b[0].name: "x"',
        '+ b[0].name: "y"',
        '+ d: {"e":"f"}',
    ]


def test_equal_values_have_none_and_many_are_cut() -> None:
    assert difference({"a": []}, {"a": []}) == ""
    lines = difference({}, {str(number): 1 for number in range(99)}).splitlines()
    assert (len(lines), lines[-1]) == (LINES_MAX + 1, "...")
