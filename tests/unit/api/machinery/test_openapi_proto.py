import struct
from typing import Any

from kubelite.api.machinery.openapi_proto import encode_definition
from unit.api.machinery.openapi_rows import DEPLOYMENTS, PODS, document, encoded_document

Message = dict[int, list[Any]]


def decoded(data: bytes) -> Message:
    """Take a message apart: field numbers and their values, in order."""
    made: Message = {}
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        key = varint()
        if key & 7 == 0:
            made.setdefault(key >> 3, []).append(varint())
        elif key & 7 == 1:
            (number,) = struct.unpack("<d", data[position : position + 8])
            made.setdefault(key >> 3, []).append(number)
            position += 8
        else:
            assert key & 7 == 2
            length = varint()
            made.setdefault(key >> 3, []).append(data[position : position + length])
            position += length
    assert position == len(data)
    return made


def named(values: list[bytes]) -> dict[str, Message]:
    pairs = [decoded(value) for value in values]
    return {pair[1][0].decode(): decoded(pair[2][0]) for pair in pairs}


DOCUMENT = decoded(encoded_document([PODS, DEPLOYMENTS]))
PATHS = named(decoded(DOCUMENT[8][0])[2])
PARAMETERS = named(decoded(DOCUMENT[10][0])[1])
DEFINITIONS = named(decoded(DOCUMENT[9][0])[1])


def test_the_document_says_what_it_is() -> None:
    assert DOCUMENT[1] == [b"2.0"]
    assert decoded(DOCUMENT[2][0])[1] == [b"Kubernetes"]


def test_definitions_are_named_schemas() -> None:
    made = document([PODS, DEPLOYMENTS])["definitions"]
    assert list(DEFINITIONS) == list(made)
    spec = DEFINITIONS["io.k8s.api.core.v1.PodSpec"]
    assert spec[19] == [b"containers"]
    assert decoded(spec[22][0])[1] == [b"object"]
    containers = named(decoded(spec[25][0])[1])["containers"]
    items = decoded(decoded(containers[23][0])[1][0])
    assert items[1] == [b"#/definitions/io.k8s.api.core.v1.Container"]
    extensions = {pair[1][0]: decoded(pair[2][0])[2][0] for pair in map(decoded, containers[31])}
    assert extensions[b"x-kubernetes-patch-merge-key"] == b'"name"\n'
    assert extensions[b"x-kubernetes-list-map-keys"] == b'["name"]\n'


def test_operations_have_their_parameters() -> None:
    item = PATHS["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    put = decoded(item[3][0])
    assert put[5] == [b"replaceAppsV1NamespacedDeployment"]
    parameters = [decoded(value) for value in put[8]]
    body = decoded(decoded(parameters[0][1][0])[1][0])
    assert (body[2], body[3], body[4]) == ([b"body"], [b"body"], [1])
    query = decoded(decoded(decoded(parameters[1][1][0])[2][0])[3][0])
    assert (query[2], query[4], query[6]) == ([b"query"], [b"dryRun"], [b"string"])
    assert decoded(parameters[2][2][0])[1] == [b"#/parameters/fieldManager"]
    assert decoded(decoded(item[9][0])[2][0])[1] == [b"#/parameters/name-path"]
    in_path = decoded(decoded(PARAMETERS["name-path"][2][0])[4][0])
    assert (in_path[1], in_path[3], in_path[4]) == ([1], [b"Name of the object."], [b"name"])
    responses = named(decoded(put[9][0])[1])
    assert set(responses) == {"200", "201", "401"}
    assert decoded(responses["401"][1][0]) == {1: [b"Unauthorized"]}


def test_restrictions_of_custom_resources() -> None:
    schema = {
        "type": "object",
        "title": "All",
        "externalDocs": {"url": "https://example.com"},
        "example": {"a": 1},
        "properties": {
            "n": {
                "type": "number",
                "maximum": 2.5,
                "exclusiveMaximum": True,
                "minimum": -1,
                "exclusiveMinimum": True,
                "multipleOf": 0.5,
            },
            "s": {"type": "string", "maxLength": 300, "minLength": 1, "pattern": "^x"},
            "l": {"items": {}, "maxItems": 3, "minItems": 2, "uniqueItems": True},
            "m": {"additionalProperties": True, "maxProperties": 5, "minProperties": 4},
            "odd": {"maxLength": -1},
        },
    }
    made = decoded(encode_definition("it", schema))
    _, whole = named(made[1]).popitem()
    assert (whole[3], decoded(whole[29][0])[2]) == ([b"All"], [b"https://example.com"])
    assert decoded(whole[30][0])[2] == [b'{"a": 1}\n']
    fields = named(decoded(whole[25][0])[1])
    number = fields["n"]
    assert [number[at] for at in (6, 7, 8, 9, 10)] == [[0.5], [2.5], [1], [-1.0], [1]]
    assert [fields["s"][at] for at in (11, 12, 13)] == [[300], [1], [b"^x"]]
    assert [fields["l"][at] for at in (14, 15, 16)] == [[3], [2], [1]]
    assert [fields["m"][at] for at in (17, 18)] == [[5], [4]]
    assert decoded(fields["m"][21][0]) == {2: [1]}
    assert fields["odd"][11] == [(1 << 64) - 1]
