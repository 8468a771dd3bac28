"""Prints how large the code is: lines per package, the longest files, the longest functions."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "kubelite"
SHOWN = 12


def functions(path: Path) -> list[tuple[int, str]]:
    """Return each function's length in lines and its place."""
    tree = ast.parse(path.read_text())
    return [
        (
            (node.end_lineno or node.lineno) - node.lineno + 1,
            f"{path.relative_to(SOURCE)}:{node.name}",
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def main() -> None:
    """Print the three lists."""
    lines = {path: len(path.read_text().splitlines()) for path in sorted(SOURCE.rglob("*.py"))}
    by_folder: dict[str, int] = {}
    for path, number in lines.items():
        folder = str(path.parent.relative_to(SOURCE))
        by_folder[folder] = by_folder.get(folder, 0) + number
    for folder, number in sorted(by_folder.items()):
        print(f"{number:7d}  {folder}")
    print(f"{sum(lines.values()):7d}  in all\n\nlongest files")
    for path, number in sorted(lines.items(), key=lambda item: -item[1])[:SHOWN]:
        print(f"{number:7d}  {path.relative_to(SOURCE)}")
    print("\nlongest functions")
    for number, place in sorted((f for path in lines for f in functions(path)), reverse=True)[
        :SHOWN
    ]:
        print(f"{number:7d}  {place}")


if __name__ == "__main__":
    main()
