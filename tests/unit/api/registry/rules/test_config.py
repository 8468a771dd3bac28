"""Rules of ConfigMaps and Secrets."""

from fakes.rule_samples import lines

from kubelite.api.registry.rules import config


def test_keys_and_sizes() -> None:
    assert config.config_map({"data": {"a.b": "c"}, "binaryData": {"d": "AA=="}}) == []
    found = lines(config.config_map({"data": {"a/b": "c", "d": ""}, "binaryData": {"d": "AA=="}}))
    assert found[0].startswith(
        'data[a/b]: Invalid value: "a/b": a valid config key must consist of'
    )
    assert found[1] == 'data[d]: Invalid value: "d": duplicate of key present in binaryData'
    big = {"data": {"a": "x" * (config.SIZE_LIMIT_BYTES + 1)}}
    assert lines(config.config_map(big)) == ["[]: Too long: may not be more than 1048576 bytes"]


def test_immutable_ones_stay() -> None:
    old = {"immutable": True, "data": {"a": "b"}}
    assert config.config_map_update(old, old) == []
    assert lines(config.config_map_update({"data": {"a": "c"}}, old)) == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]


def test_secret_types() -> None:
    assert config.secret({"type": "Opaque", "data": {"a": "AA=="}}) == []
    assert lines(config.secret({"type": "kubernetes.io/tls", "data": {"tls.crt": "AA=="}})) == [
        "data[tls.key]: Required value"
    ]
    assert len(config.secret({"type": "kubernetes.io/basic-auth"})) == 2
    broken = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "AA=="}}
    (line,) = lines(config.secret(broken))
    assert "<secret contents redacted>" in line
    old = {"type": "Opaque"}
    assert lines(config.secret_update({"type": "other"}, old)) == [
        'type: Invalid value: "other": field is immutable'
    ]
