"""The image of pod sandboxes: one static program of some hundred bytes, written here as machine code.

It holds a pod's namespaces and, where containers share them, is process 1 of the pod: it sleeps until a signal comes,
reaps orphaned processes on SIGCHLD and ends with 0 on SIGTERM or SIGINT. The signals are blocked and waited for, so
that no handler is needed. The image is built in because a node must be able to start pods without any registry.
"""

import struct

from kubelite.node.image_archive import ArchiveEntry, image_archive

NAME = "kubelite.local/pause:1"

_SIGINT, _SIGTERM, _SIGCHLD = 2, 15, 17
_SIGNALS = sum(1 << (signal - 1) for signal in (_SIGINT, _SIGTERM, _SIGCHLD))
_BASE = 0x400000  # where the file is mapped
_HEADERS_BYTES = 64 + 56  # ELF header and one program header
_MACHINES = {"amd64": 62, "arm64": 183}


def _amd64() -> bytes:
    """Assemble the program for x86-64; numbers are those of Linux' system call table for it."""
    block = _x86_call(
        14, b"\x31\xff", b"\x48\x8d\x35????", b"\x31\xd2"
    )  # rt_sigprocmask(0, set, 0, 8)
    wait = _x86_call(
        128, b"\x48\x8d\x3d????", b"\x31\xf6", b"\x31\xd2"
    )  # rt_sigtimedwait(set, 0, 0, 8)
    exit_ = b"\xb8\x3c\x00\x00\x00" + b"\x31\xff" + b"\x0f\x05"  # exit(0)
    reap = (
        b"\xb8\x3d\x00\x00\x00"  # wait4(-1, 0, WNOHANG, 0)
        b"\x48\xc7\xc7\xff\xff\xff\xff\x31\xf6\xba\x01\x00\x00\x00\x45\x31\xd2\x0f\x05"
    )
    after_wait = b"\x83\xf8" + bytes([_SIGCHLD])  # cmp eax, SIGCHLD
    after_wait += b"\x74" + bytes([4 + len(exit_)])  # je reap
    after_wait += b"\x85\xc0\x78" + _back(
        len(wait) + len(after_wait) + 4
    )  # test; js wait (interrupted)
    reap += b"\x85\xc0\x7f" + _back(len(reap) + 4)  # test; jg reap
    reap += b"\xeb" + _back(len(wait) + len(after_wait) + len(exit_) + len(reap) + 2)  # jmp wait
    code = block + wait + after_wait + exit_ + reap
    for opcode in (b"\x48\x8d\x35????", b"\x48\x8d\x3d????"):
        place = code.index(opcode)
        distance = len(code) - (place + len(opcode))
        code = code[: place + 3] + struct.pack("<i", distance) + code[place + len(opcode) :]
    return code + struct.pack("<Q", _SIGNALS)


def _x86_call(number: int, *arguments: bytes) -> bytes:
    """Return: eax = number, the first three arguments, r10 = 8, syscall."""
    return b"\xb8" + struct.pack("<I", number) + b"".join(arguments) + b"\x41\xba\x08\0\0\0\x0f\x05"


def _back(distance: int) -> bytes:
    return struct.pack("<b", -distance)


def _arm64() -> bytes:
    """Assemble the program for AArch64."""
    signals = 28  # the word at which the set of signals lies
    program = (
        *(_mov(0, 0), _adr(1, signals - 1), _mov(2, 0), _mov(3, 8)),
        *(_mov(8, 135), _SVC),  # rt_sigprocmask(0, set, 0, 8)
        *(_adr(0, signals - 6), _mov(1, 0), _mov(2, 0), _mov(3, 8)),
        *(_mov(8, 137), _SVC),  # 6: rt_sigtimedwait(set, 0, 0, 8)
        0x7100001F | _SIGCHLD << 10,  # 12: cmp w0, SIGCHLD
        0x54000000 | 5 << 5,  # 13: b.eq 18
        0x37F80000 | (-8 & 0x3FFF) << 5,  # 14: tbnz w0, 31, 6 (interrupted)
        *(_mov(0, 0), _mov(8, 93), _SVC),  # 15: exit(0)
        *(0x92800000, _mov(1, 0), _mov(2, 1), _mov(3, 0)),
        *(_mov(8, 260), _SVC),  # 18: wait4(-1, 0, WNOHANG, 0)
        0x7100001F,  # 24: cmp w0, 0
        0x5400000C | (-7 & 0x7FFFF) << 5,  # 25: b.gt 18
        0x14000000 | (-20 & 0x3FFFFFF),  # 26: b 6
        0xD503201F,  # 27: nop, keeps the set aligned
    )
    assert len(program) == signals
    return b"".join(struct.pack("<I", word) for word in program) + struct.pack("<Q", _SIGNALS)


_SVC = 0xD4000001


def _mov(register: int, value: int) -> int:
    return 0xD2800000 | value << 5 | register


def _adr(register: int, words: int) -> int:
    return 0x10000000 | words << 5 | register


def _elf(code: bytes, machine: int) -> bytes:
    """Wrap code into an executable of one read-only segment."""
    entry = _BASE + _HEADERS_BYTES
    size = _HEADERS_BYTES + len(code)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return identity + header + segment + code


def pause_program(architecture: str) -> bytes:
    """Return the executable for an architecture as Go names it; raises KeyError for one that has none."""
    machine = _MACHINES[architecture]
    return _elf(_amd64() if architecture == "amd64" else _arm64(), machine)


def pause_archive(architecture: str, name: str = NAME) -> bytes:
    """Return the sandbox image under a name."""
    entries = {"pause": ArchiveEntry(pause_program(architecture))}
    return image_archive(name, entries, architecture=architecture, entrypoint=["/pause"])
