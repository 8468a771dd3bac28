from kubelite.limits import LIMITS
from kubelite.metrics import REGISTRY


def test_every_limit_says_what_it_is_and_why() -> None:
    for limit in LIMITS.values():
        assert limit.value > 0, limit
        assert all((limit.unit, limit.bounds, limit.beyond, limit.reason)), limit


def test_reaching_a_limit_is_counted_in_a_metric() -> None:
    limit = LIMITS["object"]
    before = limit.times_reached
    limit.reached()
    assert limit.times_reached == before + 1
    assert f'kubelite_limit_reached_total{{limit="object"}} {before + 1}' in REGISTRY.exposition()
