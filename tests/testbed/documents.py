"""The examples of a document: what stands indented there is YAML, or commands."""

from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).parents[2] / "docs"


def _blocks(name: str) -> list[str]:
    text = (DOCS / name).read_text()
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("    "):
            found[-1].append(line[4:])
        elif found[-1]:
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


def objects(name: str) -> dict[str, Any]:
    """Return the objects of a document by kind and name, such as ``Pod/web``."""
    texts = [one for one in _blocks(name) if one.startswith("apiVersion: ")]
    read = [each for one in texts for each in yaml.safe_load_all(one)]
    by_name = {f"{one['kind']}/{one['metadata']['name']}": one for one in read}
    assert len(by_name) == len(read), "a name stands for one object"
    return by_name


def commands(name: str) -> list[list[str]]:
    """Return the words after kubectl of each of its commands in a document."""
    lines = [line for one in _blocks(name) for line in one.splitlines()]
    return [line.split()[1:] for line in lines if line.startswith("kubectl ")]
