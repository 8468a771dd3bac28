"""Makes the facts about Kubernetes' API that tests compare with, from packages of PyPI (run by hand: `make facts`).

`kubernetes-validate` carries the OpenAPI schemas of each version, `lightkube-models` the resources with their verbs.
Descriptions, defaults and all versions that are not stable are left out.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SCHEMAS, RESOURCES = "kubernetes-validate==1.37.0", "lightkube-models==1.36.3.8"
DEFINITIONS = "kubernetes_validate/kubernetes-json-schema/v1.36.0-local/_definitions.json"
FACTS = Path(__file__).parents[1] / "tests" / "facts"

_UNSTABLE = re.compile(r"v\d+(alpha|beta)\d+")
_VERBS = {"post": "create", "put": "update", "global_list": "list", "global_watch": "watch"}
_LEFT_OUT = frozenset({"description", "default", "enum", "type"})


def main() -> None:
    """Download the packages and write both files."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, SCHEMAS, RESOURCES], check=True)  # noqa: S603 - constants all
        wheels = {path.name.split("-")[0]: zipfile.ZipFile(path) for path in Path(folder).iterdir()}
        definitions = json.loads(wheels["kubernetes_validate"].read(DEFINITIONS))["$defs"]
        write("schemas-1.36.json", schemas(definitions))
        write("resources-1.36.json", resources(wheels["lightkube_models"]))


def write(name: str, facts: Mapping[str, Any]) -> None:
    """Write one fact a line, so that a difference shows what changed."""
    lines = [
        f"{json.dumps(key)}: {json.dumps(facts[key], separators=(',', ':'), sort_keys=True)}"
        for key in sorted(facts)
    ]
    (FACTS / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{name}: {len(lines)} facts")


def schemas(definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of each stable type: types, references, required names and `x-kubernetes-…` notes."""
    return {
        name: {
            **{key: value for key, value in definition.items() if key.startswith("x-kubernetes-")},
            **({"required": definition["required"]} if "required" in definition else {}),
            "properties": {
                field: node(value) for field, value in definition.get("properties", {}).items()
            },
        }
        for name, definition in definitions.items()
        if not _UNSTABLE.search(name)
    }


def node(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field's schema in short: one type instead of "or null", the bare name of a reference."""
    short = {key: value for key, value in schema.items() if key not in _LEFT_OUT}
    if "$ref" in schema:
        short["$ref"] = schema["$ref"].rpartition("/")[2]
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        short["type"] = next(type_ for type_ in types if type_ != "null")
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            short[inner] = node(schema[inner])
    return short


def resources(wheel: zipfile.ZipFile) -> dict[str, Any]:
    """Return kind, scope, verbs and subresources of each stable resource by `group/version/plural`."""
    made: dict[str, Any] = {}
    for name in wheel.namelist():
        if re.fullmatch(r"lightkube/resources/\w+_v\d+\.py", name):
            for scope, info in declared(ast.parse(wheel.read(name))):
                record(made, scope, info)
    return made


def declared(module: ast.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the base class and the arguments of `ApiInfo` of each resource class; nothing is executed."""
    for statement in (inner for class_ in module.body for inner in getattr(class_, "body", ())):
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            arguments = {word.arg or "": value(word.value) for word in statement.value.keywords}
            yield owner(module, statement), arguments


def owner(module: ast.Module, statement: ast.Assign) -> str:
    """Return the name of the base class of the class that holds `statement`."""
    for class_ in module.body:
        if isinstance(class_, ast.ClassDef) and statement in class_.body:
            base = class_.bases[0]
            return base.attr if isinstance(base, ast.Attribute) else ""
    return ""


def value(expression: ast.expr) -> Any:
    """Return a literal, or the arguments of a call as a list: `ResourceDef('apps', 'v1', 'Scale')`."""
    if isinstance(expression, ast.Call):
        return [ast.literal_eval(argument) for argument in expression.args]
    return ast.literal_eval(expression)


def record(made: dict[str, Any], scope: str, info: Mapping[str, Any]) -> None:
    """Put a resource or a subresource to its place."""
    group, version, _ = info.get("parent", info["resource"])
    row = made.setdefault(f"{group}/{version}/{info['plural']}".strip("/"), {"subresources": {}})
    verbs = sorted({_VERBS.get(verb, verb) for verb in info["verbs"]})
    kind_group, kind_version, kind = info["resource"]
    if "action" in info:
        of = f"{kind_group}/{kind_version}".strip("/")
        row["subresources"][info["action"]] = {"kind": kind, "of": of, "verbs": verbs}
    else:
        row.update(kind=kind, namespaced=scope.startswith("Namespaced"), verbs=verbs)


if __name__ == "__main__":
    main()
