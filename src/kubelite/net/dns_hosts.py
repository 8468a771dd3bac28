"""Answers for the host names that an administrator has set. Pure."""

import ipaddress

from kubelite.net.dns_config import DNSConfig
from kubelite.net.dns_wire import AAAA, ANY, PTR, A, Name, ResourceRecord, encode_name, parse_name
from kubelite.net.records import TTL_SECONDS, Answer


class HostNames:
    """The hosts of the settings, by name and by address."""

    def __init__(self, config: DNSConfig) -> None:
        self._addresses = config.hosts
        self._names: dict[Name, list[Name]] = {}
        for name, addresses in config.hosts.items():
            for address in addresses:
                pointer = parse_name(ipaddress.ip_address(address).reverse_pointer)
                self._names.setdefault(pointer, []).append(name)

    def answer(self, name: Name, record_type: int) -> Answer | None:
        """Return the answer about a set name or address; None if it is not set.

        Like CoreDNS' hosts plugin it has no other records than addresses and pointers.
        """
        if (addresses := self._addresses.get(name)) is not None:
            records = (_address_record(name, address) for address in addresses)
            return Answer(
                records=tuple(found for found in records if record_type in (found.record_type, ANY))
            )
        if (names := self._names.get(name)) is not None and record_type in (PTR, ANY):
            return Answer(
                records=tuple(
                    ResourceRecord(name, PTR, encode_name(host), TTL_SECONDS) for host in names
                )
            )
        return None


def _address_record(name: Name, text: str) -> ResourceRecord:
    address = ipaddress.ip_address(text)
    record_type = A if address.version == 4 else AAAA
    return ResourceRecord(name, record_type, address.packed, TTL_SECONDS)
