"""OpenPGP keys as files: armour, packets, fingerprints. No signatures: gpgv or sqv check those.

A key file may hold several keys, in armour or binary. An index is trusted by one fingerprint, so
the key with that fingerprint is taken out of the file, and only that one is used and written into
locks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

LARGEST = 1 << 20
"""Largest key file, bytes."""

_BLOCK = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL
)
_SECRET_TAGS = (5, 7)
_PUBLIC_KEY = 6


class KeyFormatError(ValueError):
    """Bytes that are not OpenPGP public keys; the message says in plain words what they are."""


@dataclass(frozen=True)
class PublicKey:
    """One certificate."""

    fingerprint: str
    """Fingerprint of the primary key, upper-case hexadecimal."""
    binary: bytes
    """Its packets, as keyrings hold them."""

    @property
    def armoured(self) -> str:
        """The key in ASCII armour."""
        text = base64.b64encode(self.binary).decode()
        lines = [text[i : i + 64] for i in range(0, len(text), 64)]
        check = base64.b64encode(_crc24(self.binary).to_bytes(3, "big")).decode()
        body = "\n".join([*lines, f"={check}"])
        begin, end = (f"-----{word} PGP PUBLIC KEY BLOCK-----" for word in ("BEGIN", "END"))
        return f"{begin}\n\n{body}\n{end}\n"


def read_keys(data: bytes) -> list[PublicKey]:
    """Return every public key in a key file, armoured or binary.

    Raises:
        KeyFormatError: it holds none, or is not an OpenPGP key file.
    """
    if b"PRIVATE KEY BLOCK" in data:
        raise KeyFormatError("a private key")
    blocks = [_dearmour(block) for block in _BLOCK.findall(data)]
    if not blocks:
        if data[:1] and data[0] & 0x80:
            blocks = [data]
        else:
            raise KeyFormatError("no OpenPGP key")
    keys: list[PublicKey] = []
    for block in blocks:
        start, fingerprint = 0, ""
        for tag, at, end, body in _packets(block):
            if tag in _SECRET_TAGS:
                raise KeyFormatError("a private key")
            if tag == _PUBLIC_KEY:
                if fingerprint:
                    keys.append(PublicKey(fingerprint, block[start:at]))
                start, fingerprint = at, _fingerprint(body)
            elif not fingerprint:
                raise KeyFormatError("OpenPGP data that is not a public key")
            last = end
        if fingerprint:
            keys.append(PublicKey(fingerprint, block[start:last]))
    if not keys:
        raise KeyFormatError("no OpenPGP key")
    return keys


def _dearmour(body: bytes) -> bytes:
    """Return the binary of an armoured block: headers, an empty line, base64, a checksum line."""
    lines = [line.strip() for line in body.splitlines()]
    if b"" in lines and any(b":" in line for line in lines[: lines.index(b"")]):
        lines = lines[lines.index(b"") :]
    text = b"".join(line for line in lines if line and not line.startswith(b"="))
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise KeyFormatError("a damaged OpenPGP key") from error


def _packets(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield tag, start, end and body of each packet (RFC 9580, section 4.2)."""
    at = 0
    try:
        while at < len(data):
            start, first = at, data[at]
            if not first & 0x80:
                raise KeyFormatError("a damaged OpenPGP key")
            if first & 0x40:
                tag, length, at = first & 0x3F, data[at + 1], at + 2
                if 192 <= length < 224:
                    length, at = ((length - 192) << 8) + data[at] + 192, at + 1
                elif length == 255:
                    length, at = int.from_bytes(data[at : at + 4], "big"), at + 4
                elif length >= 224:
                    raise KeyFormatError("a damaged OpenPGP key")
            else:
                tag, octets = first >> 2 & 0x0F, (1, 2, 4, 0)[first & 3]
                if not octets:
                    raise KeyFormatError("a damaged OpenPGP key")
                length = int.from_bytes(data[at + 1 : at + 1 + octets], "big")
                at += 1 + octets
            end = at + length
            if end > len(data):
                raise KeyFormatError("a key that is cut off")
            yield tag, start, end, data[at:end]
            at = end
    except IndexError as error:
        raise KeyFormatError("a key that is cut off") from error


def _fingerprint(body: bytes) -> str:
    if not body:
        raise KeyFormatError("a damaged OpenPGP key")
    if body[0] == 4:
        prefix = b"\x99" + len(body).to_bytes(2, "big")
        return hashlib.sha1(prefix + body, usedforsecurity=False).hexdigest().upper()
    if body[0] == 6:
        prefix = b"\x9b" + len(body).to_bytes(4, "big")
        return hashlib.sha256(prefix + body).hexdigest().upper()
    raise KeyFormatError(f"a key of version {body[0]}, which nothing accepts any more")


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc & 0xFFFFFF
