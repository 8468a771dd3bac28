from kubelite.remembered import remembered


def test_short_texts_are_answered_once_and_long_ones_are_not_kept() -> None:
    asked: list[str] = []

    @remembered(2, length_max=3)
    def answer(text: str) -> int:
        asked.append(text)
        return len(text)

    assert [answer(text) for text in ("abc", "abc", "abcd", "abcd")] == [3, 3, 4, 4]
    assert asked == ["abc", "abcd", "abcd"]


def test_no_more_entries_are_kept_than_asked_for() -> None:
    asked: list[bytes] = []

    @remembered(1)
    def answer(text: bytes) -> int:
        asked.append(text)
        return len(text)

    for text in (b"a", b"b", b"a"):
        answer(text)
    assert asked == [b"a", b"b", b"a"]
