"""docs/operations.md lists every limit, in the words of `kubelite.limits`."""

from pathlib import Path

from kubelite.limits import LIMITS, Limit

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
BEGIN, END = "<!-- limits -->", "<!-- end of limits -->"


def _row(limit: Limit) -> str:
    return (
        f"| `{limit.name}` | {limit.bounds} | {_amount(limit)} | {limit.beyond} | {limit.reason} |"
    )


def _amount(limit: Limit) -> str:
    if limit.unit == "bytes":
        for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if limit.value >= size and not limit.value % (size // 2):
                return f"{limit.value / size:g} {unit}"
    return f"{limit.value:,} {limit.unit}"


def _table() -> str:
    heading = ("| Name | What | Bound | Beyond it | Why |", "|---|---|---|---|---|")
    return "\n".join((*heading, *map(_row, LIMITS.values())))


def test_the_table_of_operations_lists_every_limit() -> None:
    table = OPERATIONS.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert table == _table(), "run `make golden`"


if __name__ == "__main__":  # make golden
    before, _, rest = OPERATIONS.read_text().partition(BEGIN)
    OPERATIONS.write_text(f"{before}{BEGIN}\n{_table()}\n{END}{rest.partition(END)[2]}")
