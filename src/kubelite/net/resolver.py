"""Answers one DNS question: from the cluster's records, or from the host's resolvers."""

from collections.abc import Sequence

from kubelite.metrics import REGISTRY
from kubelite.net.dns_config import DNSConfig
from kubelite.net.dns_hosts import HostNames
from kubelite.net.dns_wire import (
    BAD_VERSION,
    FORMAT_ERROR,
    HEADER,
    INTERNET,
    MESSAGE_LIMIT_BYTES,
    NOT_IMPLEMENTED,
    RECURSION_DESIRED,
    REFUSED,
    SERVER_FAILURE,
    TYPE_CLASS,
    Malformed,
    Name,
    Query,
    ResourceRecord,
    build_error,
    build_response,
    encode_name,
    is_encodable,
    parse_query,
    parse_response,
    truncate,
)
from kubelite.net.records import (
    NO_SUCH_NAME,
    Answer,
    Zone,
    ZoneSettings,
    answer,
    start_of_authority,
)
from kubelite.net.upstream import NoUpstream, Upstream

ALIAS_CHAIN_MAX = 8
KEPT_MAX = 4096
KEPT_QUESTION_BYTES_MAX = 512  # a question can be padded at will
CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", *["other"] * 10)
_answers = REGISTRY.counter(
    "kubelite_dns_answers_total", "Answers that were given, by their code.", ("rcode",)
)
ANSWERS = tuple(_answers.labelled(code) for code in CODES)  # by the number of the code


class Resolver:
    """Answers DNS questions.

    Answers of the cluster that are the same each time are kept as bytes, under all of the question but its id, until
    `forget` is called: it must be, after each change of the zone.
    """

    def __init__(self, zone: Zone, settings: ZoneSettings, upstream: Upstream) -> None:
        self._zone = zone
        self._settings = settings
        self._upstream = upstream
        self._config = DNSConfig()
        self._hosts = HostNames(self._config)
        self._kept: dict[bytes, bytes] = {}
        self._turn = 0
        self.is_ready = False  # False until the zone is synced: NXDOMAIN would be wrong

    def forget(self) -> None:
        """Drop cached answers."""
        self._kept.clear()

    def configure(self, config: DNSConfig) -> None:
        """Take an administrator's settings."""
        self._config = config
        self._hosts = HostNames(config)
        self._upstream.configure(config)
        self.forget()

    def answer_at_once(self, data: bytes) -> bytes | Query | None:
        """Return the answer to a UDP question; the question itself if that needs `answer_later`; None for no answer."""
        kept = self._kept.get(data[2:])
        if kept is not None:
            ANSWERS[kept[1] & 0xF].value += 1
            return data[:2] + kept
        query = self._read(data)
        if not isinstance(query, Query):
            return query
        found = self._find(query)
        if found is None:
            cached = self._upstream.cached(query)
            return query if cached is None else _fit(query, cached)
        if found.chase:
            return query
        response = self._respond(query, found, query.udp_limit_bytes)
        if self.is_ready and len(found.records) <= 1 and len(data) <= KEPT_QUESTION_BYTES_MAX:
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()  # else the names one noisy pod asks for would fill the cache for good
            self._kept[data[2:]] = response[2:]
        return response

    async def answer_later(self, data: bytes, query: Query) -> bytes:
        """Return the answer to a UDP question of which `answer_at_once` returned the query."""
        found = self._find(query)
        if found is not None:
            return self._respond(query, await self._chase(query, found), query.udp_limit_bytes)
        return _fit(query, await self._forward(data, query, by_tcp=False))

    async def answer_by_tcp(self, data: bytes) -> bytes | None:
        """Return the answer to a question that came by TCP; None for no answer."""
        query = self._read(data)
        if not isinstance(query, Query):
            return query
        found = self._find(query)
        if found is not None:
            return self._respond(query, await self._chase(query, found), MESSAGE_LIMIT_BYTES)
        return await self._forward(data, query, by_tcp=True)

    def _read(self, data: bytes) -> Query | bytes | None:
        """Return the parsed question, or the error response to one that cannot be answered."""
        try:
            query = parse_query(data)
        except Malformed:
            return build_error(data, FORMAT_ERROR)
        code = 0
        if query.opcode:
            code = NOT_IMPLEMENTED
        elif query.edns_version:
            code = BAD_VERSION
        elif query.class_ != INTERNET:
            code = REFUSED
        if code:
            return build_response(query, code, limit_bytes=query.udp_limit_bytes)
        return query

    def _find(self, query: Query) -> Answer | None:
        """Return what is known without asking outside; None if another server must be asked."""
        name = self._config.rewritten(query.name)
        if not is_encodable(name):  # a rewrite may make it longer
            return NO_SUCH_NAME
        found = self._look_up(name, query.record_type)
        if found is None:
            if self._upstream.came_back(name):
                return NO_SUCH_NAME
            return None if name == query.name else Answer(chase=name)
        return found

    def _look_up(self, name: Name, record_type: int) -> Answer | None:
        found = self._hosts.answer(name, record_type)
        if found is None:
            found = answer(name, record_type, self._zone, self._settings)
        if found is not None and not self.is_ready:
            return Answer(SERVER_FAILURE)
        return found

    def _respond(self, query: Query, found: Answer, limit_bytes: int) -> bytes:
        records = found.records
        if self._config.rewrites:
            records = _under_the_asked_name(query.name, self._config.rewritten(query.name), records)
        if len(records) > 1 and records[0].record_type == records[-1].record_type:
            # rotated, so that clients that use the first address spread over all
            self._turn = (self._turn + 1) % 65536
            cut = self._turn % len(records)
            records = records[cut:] + records[:cut]
        denies = not records and found.code != SERVER_FAILURE
        return build_response(
            query,
            found.code,
            records,
            (start_of_authority(self._settings),) if denies else (),
            found.additionals,
            limit_bytes=limit_bytes,
            is_authoritative=True,
        )

    async def _forward(self, data: bytes, query: Query, *, by_tcp: bool) -> bytes:
        try:
            return await self._upstream.ask(data, query, by_tcp=by_tcp)
        except NoUpstream:
            return build_response(query, SERVER_FAILURE, limit_bytes=query.udp_limit_bytes)

    async def _chase(self, query: Query, found: Answer) -> Answer:
        """Follow the CNAME of an ExternalName to its end, because simple clients do not ask again."""
        records = found.records
        for _ in range(ALIAS_CHAIN_MAX):
            if not found.chase:
                return Answer(found.code, records, found.additionals)
            target = found.chase
            inside = self._look_up(target, query.record_type)
            if inside is None:
                outside = await self._ask_outside(target, query.record_type)
                return Answer(outside.code, records + outside.records)
            found = inside
            records += inside.records
        return Answer(SERVER_FAILURE)

    async def _ask_outside(self, name: Name, record_type: int) -> Answer:
        """Return what another server says of a name; SERVFAIL if none answered."""
        section = encode_name(name) + TYPE_CLASS.pack(record_type, INTERNET)
        query = Query(0, RECURSION_DESIRED, name, record_type, section)
        data = HEADER.pack(0, RECURSION_DESIRED, 1, 0, 0, 0) + section
        try:
            response = parse_response(await self._upstream.ask(data, query))
            if response.is_truncated:
                response = parse_response(await self._upstream.ask(data, query, by_tcp=True))
            return Answer(response.code, response.answers)
        except (NoUpstream, Malformed):
            return Answer(SERVER_FAILURE)


def _under_the_asked_name(
    asked: Name, target: Name, records: Sequence[ResourceRecord]
) -> tuple[ResourceRecord, ...]:
    """Return the records of a name that was rewritten as if they were those of the name that was asked for."""
    return tuple(
        ResourceRecord(asked, record.record_type, record.data, record.ttl)
        if record.name == target
        else record
        for record in records
    )


def _fit(query: Query, data: bytes) -> bytes:
    """Return another server's answer, cut to what UDP takes."""
    if len(data) <= query.udp_limit_bytes:
        return data
    return truncate(query, data, query.udp_limit_bytes)
