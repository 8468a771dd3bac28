from kubelite.api.auth.recent import Recent


def test_least_recently_used_goes_first() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)
    assert len(recent) == 2


def test_old_answers_are_forgotten() -> None:
    time = [0.0]
    recent: Recent[str, int] = Recent(2, lifetime_seconds=10, time=lambda: time[0])
    recent.put("a", 1)
    time[0] = 9.9
    assert recent.get("a") == 1
    time[0] = 10.0
    assert recent.get("a") is None
    assert len(recent) == 0
