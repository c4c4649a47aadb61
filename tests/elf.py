"""For which machine a library is, by its header."""

import struct

MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}
"""System V ABI, e_machine: the names that Lambda has for them."""
HEADER_BYTES = 20


def machine_of(header: bytes) -> str:
    """Return Lambda's name of the machine, by the first `HEADER_BYTES` or more of an ELF file."""
    assert header.startswith(b"\x7fELF")
    (number,) = struct.unpack_from("<H", header, 18)
    return MACHINES.get(number, hex(number))
