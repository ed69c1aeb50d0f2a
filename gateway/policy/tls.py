"""The files that the `tls` of a backend names: who is trusted, and the certificate that we show.

They belong to the machine, as secrets do: not part of the policy's version, but watched with the folder. What they hold
is used as it was when the policy was compiled; a file that is broken later cannot harm the policy in force.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.model import Tls
from gateway.policy.schema import TlsIn
from gateway.policy.source import parse

Digests = Mapping[str, bytes | None]
"""A file as it is written in the policy -> SHA-256 of what it holds; None where it cannot be read."""
LONGEST_FILE = 1 << 20
"""The bundle of a whole operating system has about 220 KB."""
KEYS = ("ca", "cert", "key")


class BadFile(Exception):
    """One of the files is no good: the `key` of `tls` that names it, and a sentence that quotes nothing from it."""

    def __init__(self, key: str, said: str) -> None:
        super().__init__(said)
        self.key = key


def digests(root: Path, backends: bytes | None) -> dict[str, bytes | None]:
    """Every file that a `tls` in backends.yaml names, however wrong the rest of it is."""
    if backends is None or b"tls" not in backends:
        return {}
    data = parse("backends.yaml", backends).data
    listed = data.get("backends") if isinstance(data, dict) else None
    found = [_files(item) for item in listed] if isinstance(listed, list) else []
    return {name: digest(root / name) for names in found for name in names}


def _files(backend: Any) -> list[str]:
    tls = backend.get("tls") if isinstance(backend, dict) else None
    values = [tls.get(key) for key in KEYS] if isinstance(tls, dict) else []
    return [value for value in values if isinstance(value, str) and value]


def digest(path: Path) -> bytes | None:
    """Of a file that matters to a policy; None where it cannot be read, or is far too long."""
    try:
        if not path.is_file():  # a named pipe would block
            return None
        with path.open("rb") as file:
            held = file.read(LONGEST_FILE + 1)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return hashlib.sha256(held).digest() if len(held) <= LONGEST_FILE else None


def material(root: Path, tls: TlsIn, seen: Digests) -> Tls:
    """What connections of this backend are opened with. `seen`: digests of its files. Raises BadFile."""
    whole = hashlib.sha256()
    for key in KEYS:
        name = getattr(tls, key)
        digest = b"" if name is None else seen.get(name)
        if digest is None:
            raise BadFile(key, "cannot be read; check path and permissions")
        whole.update(key.encode() + digest)
    context = _trusting(root, tls.ca)
    if tls.cert is not None and tls.key is not None:
        _show(context, root / tls.cert, root / tls.key)
    return Tls(whole.digest(), context, tls.server_name)


def _trusting(root: Path, ca: str | None) -> ssl.SSLContext:
    """Certificate and host name are verified, against the system's authorities where no others are named."""
    try:
        return ssl.create_default_context(cafile=None if ca is None else root / ca)
    except (ssl.SSLError, OSError):
        raise BadFile("ca", "holds no certificate; it must be PEM (BEGIN CERTIFICATE)") from None


def _show(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert)
    except (ssl.SSLError, OSError):
        raise BadFile("cert", "holds no certificate; it must be PEM (BEGIN CERTIFICATE)") from None
    try:
        context.load_cert_chain(cert, key, password="")  # without one, OpenSSL would ask on the terminal
    except (ssl.SSLError, OSError) as fault:
        raise _key_fault(getattr(fault, "reason", None) or "") from None


def _key_fault(reason: str) -> BadFile:
    if "MISMATCH" in reason:
        return BadFile("key", "is not the private key of the certificate in `cert`")
    if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
        return BadFile("cert", "is too weak for this OpenSSL; have it made anew with a longer key or a newer hash")
    return BadFile("key", "holds no private key; it must be PEM (BEGIN PRIVATE KEY), without a passphrase")
