"""Reads which programs give logins for images: ``CredentialProviderConfig``, as the kubelet. Pure but for reading.

Source: pkg/credentialprovider/plugin/config.go.
"""

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from kubelite.api.machinery.times import parse_duration
from kubelite.limits import CREDENTIAL_CONFIG
from kubelite.text_formats import qualified_name

CONFIG_VERSIONS = tuple(f"kubelet.config.k8s.io/{one}" for one in ("v1", "v1alpha1", "v1beta1"))
REQUEST_VERSIONS = tuple(
    f"credentialprovider.kubelet.k8s.io/{one}" for one in ("v1", "v1alpha1", "v1beta1")
)
CACHE_TYPES = PER_ACCOUNT, PER_TOKEN = "ServiceAccount", "Token"
SUFFIXES = frozenset({".json", ".yaml", ".yml"})


class CredentialConfigInvalid(Exception):
    """The configuration cannot be used; `str()` says why."""


class TokenAttributes(Struct, frozen=True):
    """What a program is told of a pod's service account."""

    audience: str  # of the token that it gets
    is_required: bool  # it is not asked for pods without an account
    is_kept_by_token: bool  # its answers are for one token, else for the account
    required_keys: tuple[str, ...] = ()  # annotations without which it is not asked
    optional_keys: tuple[str, ...] = ()  # further annotations that it is told


class CredentialProvider(Struct, frozen=True):
    """A program that is asked for logins, and for which images."""

    name: str
    program: Path
    api_version: str  # of the questions and answers
    match_images: tuple[str, ...]
    cache_seconds: float  # of an answer that names no duration; 0: it is not kept
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    token: TokenAttributes | None = None  # None: it is told nothing of accounts


class _Variable(Struct, forbid_unknown_fields=True):
    name: str
    value: str = ""


class _TokenAttributes(Struct, forbid_unknown_fields=True, rename="camel"):
    service_account_token_audience: str = ""
    cache_type: str = ""
    require_service_account: bool | None = None
    required_service_account_annotation_keys: list[str] = []
    optional_service_account_annotation_keys: list[str] = []


class _Provider(Struct, forbid_unknown_fields=True, rename="camel"):
    name: str = ""
    match_images: list[str] = []
    default_cache_duration: str | None = None
    api_version: str = ""
    args: list[str] = []
    env: list[_Variable] = []
    token_attributes: _TokenAttributes | None = None


class _Config(Struct, forbid_unknown_fields=True, rename="camel"):
    kind: str = ""
    api_version: str = ""
    providers: list[_Provider] = []


def read_credential_providers(config: str, programs: str) -> tuple[CredentialProvider, ...]:
    """Read the file, or the files of the folder, `config`; the programs are in the folder `programs`. Blocking.

    Raises CredentialConfigInvalid.
    """
    if not config and not programs:
        return ()
    if not os.path.isdir(programs):  # noqa: PTH112 - an empty path is no folder, and not the current one
        raise CredentialConfigInvalid(f"plugin binary directory {programs} did not exist")
    if not config:
        raise CredentialConfigInvalid("credential provider config path is empty")
    found: list[_Provider] = []
    for file in _files(Path(config)):
        try:
            with file.open("rb") as opened:
                content = opened.read(CREDENTIAL_CONFIG.value + 1)
        except OSError as error:
            raise CredentialConfigInvalid(
                f'unable to read file "{file}": {error.strerror}'
            ) from error
        if len(content) > CREDENTIAL_CONFIG.value:
            CREDENTIAL_CONFIG.reached()
            raise CredentialConfigInvalid(
                f'file "{file}" is larger than {CREDENTIAL_CONFIG.value} bytes'
            )
        found += _decoded(content, file)
    names: set[str] = set()
    for provider in found:
        if provider.name in names:
            raise CredentialConfigInvalid(
                f'duplicate provider name "{provider.name}" found in configuration file(s)'
            )
        names.add(provider.name)
    if problems := [*_problems(found)]:
        listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise CredentialConfigInvalid(f"failed to validate credential provider config: {listed}")
    return tuple(_provider(one, Path(programs)) for one in found)


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            path.stat()
            return [path]
        files = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and not one.is_dir())
    except OSError as error:
        raise CredentialConfigInvalid(
            f'unable to access path "{path}": {error.strerror}'
        ) from error
    if not files:
        raise CredentialConfigInvalid(f'no configuration files found in directory "{path}"')
    return files


def _decoded(content: bytes, file: Path) -> list[_Provider]:
    import yaml

    try:
        config = msgspec.convert(yaml.safe_load(content), _Config)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, msgspec.ValidationError) as error:
        raise CredentialConfigInvalid(f'error decoding config "{file}": {error}') from error
    if config.kind != "CredentialProviderConfig" or config.api_version not in CONFIG_VERSIONS:
        reason = f'no kind "{config.kind}" is registered for version "{config.api_version}"'
        raise CredentialConfigInvalid(f'error decoding config "{file}": {reason}')
    has_tokens = any(one.token_attributes is not None for one in config.providers)
    if has_tokens and config.api_version != CONFIG_VERSIONS[0]:
        reason = f'unknown field "tokenAttributes" in version "{config.api_version}"'
        raise CredentialConfigInvalid(f'error decoding config "{file}": {reason}')
    return config.providers


def _problems(providers: Iterable[_Provider]) -> Iterable[str]:
    """Yield what is wrong with providers, in the kubelet's words."""
    if not providers:
        yield "providers: Required value: at least 1 item in plugins is required"
    for one in providers:
        for is_wrong, reason in (
            ("/" in one.name, "provider name cannot contain '/'"),
            (" " in one.name, "provider name cannot contain spaces"),
            (one.name == ".", "provider name cannot be '.'"),
            (one.name == "..", "provider name cannot be '..'"),
        ):
            if is_wrong:
                yield f'providers.name: Invalid value: "{one.name}": {reason}'
        if not one.api_version:
            yield "providers.apiVersion: Required value"
        elif one.api_version not in REQUEST_VERSIONS:
            known = ", ".join(f'"{version}"' for version in REQUEST_VERSIONS)
            yield f'providers.apiVersion: Unsupported value: "{one.api_version}": supported values: {known}'
        if not one.match_images:
            yield "providers.matchImages: Required value: at least 1 item in matchImages is required"
        for place in one.match_images:
            if reason := _place_problem(place):
                yield f'providers.matchImages: Invalid value: "{place}": match image is invalid: {reason}'
        yield from _duration_problems(one)
        if one.token_attributes is not None:
            yield from _token_problems(one.token_attributes, one.api_version)


def _token_problems(given: _TokenAttributes, api_version: str) -> Iterable[str]:
    where = "providers.tokenAttributes"
    required = given.required_service_account_annotation_keys
    optional = given.optional_service_account_annotation_keys
    if not given.service_account_token_audience:
        yield f"{where}.serviceAccountTokenAudience: Required value"
    if given.require_service_account is None:
        yield f"{where}.requireServiceAccount: Required value"
    if api_version != REQUEST_VERSIONS[0]:
        yield f"{where}: Forbidden: tokenAttributes is only supported for {REQUEST_VERSIONS[0]} API version"
    if given.require_service_account is False and required:
        yield (
            f"{where}.requiredServiceAccountAnnotationKeys: Forbidden: requireServiceAccount cannot be false "
            "when requiredServiceAccountAnnotationKeys is set"
        )
    yield from _key_problems(f"{where}.requiredServiceAccountAnnotationKeys", required)
    yield from _key_problems(f"{where}.optionalServiceAccountAnnotationKeys", optional)
    if both := sorted({*required} & {*optional}):
        listed = msgspec.json.encode(both).decode()
        yield f"{where}: Invalid value: {listed}: annotation keys cannot be both required and optional"
    if not given.cache_type:
        yield (
            f"{where}.cacheType: Required value: cacheType is required to be set when tokenAttributes is specified. "
            f"Supported values are: {', '.join(CACHE_TYPES)}"
        )
    elif given.cache_type not in CACHE_TYPES:
        known = ", ".join(f'"{one}"' for one in CACHE_TYPES)
        yield f'{where}.cacheType: Unsupported value: "{given.cache_type}": supported values: {known}'


def _key_problems(where: str, keys: Iterable[str]) -> Iterable[str]:
    seen: set[str] = set()
    for key in keys:
        yield from (
            f'{where}: Invalid value: "{key}": {wrong}' for wrong in qualified_name(key.lower())
        )
        if key in seen:
            yield f'{where}: Duplicate value: "{key}"'
        seen.add(key)


def _place_problem(place: str) -> str:
    try:
        if any(letter.isspace() for letter in place):
            return "invalid character in host name"
        urlsplit(f"https://{place}").port  # noqa: B018 - raises for one that is no number
    except ValueError as error:
        return str(error)
    return ""


def _duration_problems(provider: _Provider) -> Iterable[str]:
    where, text = "providers.defaultCacheDuration", provider.default_cache_duration
    if text is None:
        yield f"{where}: Required value"
        return
    try:
        if parse_duration(text) < timedelta():
            yield f'{where}: Invalid value: "{text}": must be greater than or equal to 0'
    except ValueError as error:
        yield f'{where}: Invalid value: "{text}": {error}'


def _provider(given: _Provider, programs: Path) -> CredentialProvider:
    program = programs / given.name
    if not program.exists():
        raise CredentialConfigInvalid(f"plugin binary executable {program} did not exist")
    if program.is_dir() or not os.access(program, os.X_OK):
        raise CredentialConfigInvalid(
            f"error inspecting binary executable {program}: permission denied"
        )
    return CredentialProvider(
        given.name,
        program.absolute(),
        given.api_version,
        tuple(given.match_images),
        parse_duration(given.default_cache_duration or "0s").total_seconds(),
        tuple(given.args),
        tuple((one.name, one.value) for one in given.env),
        None if given.token_attributes is None else _token(given.token_attributes),
    )


def _token(given: _TokenAttributes) -> TokenAttributes:
    return TokenAttributes(
        given.service_account_token_audience,
        bool(given.require_service_account),
        given.cache_type == PER_TOKEN,
        tuple(given.required_service_account_annotation_keys),
        tuple(given.optional_service_account_annotation_keys),
    )
