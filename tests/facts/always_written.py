"""Makes always-written.json: the fields that Go writes even when they are empty, by definition.

Run it with the folder that holds Kubernetes' k8s.io packages: ``python tests/facts/always_written.py FOLDER``. Read are
the JSON tags of Go's types: a field without omitempty is always written, and so is a struct without omitzero, whatever
else its tag says. What Go writes as null (pointers, dates, raw JSON) is left out: to clients null is as good as absent.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

FACTS = Path(__file__).with_name("always-written.json")
_NULLS = ("Time", "MicroTime", "RawExtension", "JSON", "FieldsV1")
_PACKAGES = {
    "apimachinery/pkg/apis/meta/v1/group_version.go": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "apimachinery/pkg/apis/meta/v1/types.go": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "apimachinery/pkg/apis/meta/v1/watch.go": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "apiextensions-apiserver/pkg/apis/apiextensions/v1/types.go": (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
    ),
    "apiextensions-apiserver/pkg/apis/apiextensions/v1/types_jsonschema.go": (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
    ),
    "kube-aggregator/pkg/apis/apiregistration/v1/types.go": (
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1"
    ),
}


class Field(NamedTuple):
    """A field as its declaration says."""

    name: str  # on the wire; empty where the fields of its type stand in its place
    type: str
    options: frozenset[str]


Types = dict[str, list[Field]]  # by definition


def sources(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files that declare types, and the prefix of their definitions."""
    for path in sorted(folder.glob("api/*/v?/types.go")):
        yield path, f"io.k8s.api.{path.parts[-3]}.{path.parts[-2]}"
    for name, prefix in _PACKAGES.items():
        yield folder / name, prefix


def declared(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names of the structs of a file and what stands between their braces."""
    text = re.sub(r"//.*", "", text)
    for match in re.finditer(r"^type (\w+) struct \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def fields(body: str) -> Iterator[Field]:
    """Yield the fields of a struct."""
    for match in re.finditer(r'^\t(?:\w+\s+)?(\S.*?)\s+`.*?json:"([^"]*)"', body, re.MULTILINE):
        name, *options = match[2].split(",")
        yield Field(name, match[1], frozenset(options))


def is_always_written(field: Field, structs: frozenset[str]) -> bool:
    """Tell whether Go writes a field that is empty, and not as null."""
    bare = field.type.rpartition(".")[2]
    if field.type.startswith("*") or bare in _NULLS:
        return False
    if bare in structs and not field.type.startswith(("[", "map")):
        return "omitzero" not in field.options
    return not field.options & {"omitempty", "omitzero"}


def facts(types: Mapping[str, list[Field]]) -> dict[str, list[str]]:
    """Return the names of the fields that are always written, by definition."""
    structs = frozenset(name.rpartition(".")[2] for name in types)

    def written(definition: str) -> Iterator[str]:
        for field in types[definition]:
            if field.name:
                if is_always_written(field, structs):
                    yield field.name
            elif not field.type.endswith("TypeMeta"):
                yield from written(_inlined(definition, field.type, types))

    return {name: sorted(found) for name in sorted(types) if (found := [*written(name)])}


def _inlined(definition: str, go_type: str, types: Mapping[str, list[Field]]) -> str:
    package, name = definition.rpartition(".")[0], go_type.rpartition(".")[2]
    for prefix in (package, "io.k8s.apimachinery.pkg.apis.meta.v1", "io.k8s.api.core.v1"):
        if f"{prefix}.{name}" in types:
            return f"{prefix}.{name}"
    raise SystemExit(f"{definition}: what is {go_type}?")


def main(folder: Path) -> None:
    """Read the types and write the facts."""
    types: Types = {}
    for path, prefix in sources(folder):
        for name, body in declared(path.read_text()):
            types[f"{prefix}.{name}"] = list(fields(body))
    lines = (f"{json.dumps(name)}: {json.dumps(each)}" for name, each in facts(types).items())
    FACTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
