"""The certificate that clients are shown, and whose certificates they must show: read at the start and whenever the
files change. What cannot be used then is told in the log, and what was in force stays."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import StartupFault
from gateway.settings import Settings

_log = logging.getLogger("gateway")
State = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """What the settings name. `clients`: the authorities of client certificates, which are demanded then."""

    cert: Path
    key: Path
    password: str
    clients: Path | None

    @classmethod
    def of(cls, settings: Settings) -> Files | None:
        """None: no TLS. Raises StartupFault where only part of it is set."""
        cert, key, clients = settings.tls_cert, settings.tls_key, settings.tls_client_ca
        if cert is None and key is None:
            if clients is not None:
                raise StartupFault("GATEWAY_TLS_CLIENT_CA needs GATEWAY_TLS_CERT and GATEWAY_TLS_KEY")
            return None
        if cert is None or key is None:
            raise StartupFault("GATEWAY_TLS_CERT and GATEWAY_TLS_KEY belong together: set both, or neither")
        return cls(cert, key, settings.tls_key_password.get_secret_value(), clients)

    def state(self) -> State:
        """Changes with any of the files; a link that leads elsewhere is a change too (as Kubernetes renews secrets)."""
        return tuple(_state(path) for path in (self.cert, self.key, self.clients) if path is not None)

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer. Raises StartupFault naming the setting; nothing of a file is quoted."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_alpn_protocols(["http/1.1"])
        try:
            made.load_cert_chain(self.cert, self.key, password=lambda: self.password)  # else OpenSSL asks the terminal
        except OSError as fault:  # ssl.SSLError too
            raise StartupFault(_said(fault)) from None
        if self.clients is not None:
            try:
                made.load_verify_locations(self.clients)
            except OSError:
                raise StartupFault("GATEWAY_TLS_CLIENT_CA cannot be read as PEM (BEGIN CERTIFICATE)") from None
            made.verify_mode = ssl.CERT_REQUIRED
            made.options |= ssl.OP_NO_TICKET  # a ticket would stand for a certificate that is trusted no more
            made.num_tickets = 0
        return made


class Certificate:
    """`context` is what the server is given once: each handshake takes the newest files' through it."""

    def __init__(self, files: Files) -> None:
        self._files, self._seen = files, files.state()
        self._newest = self.context = files.context()
        self.context.sni_callback = self._begin

    def look(self) -> None:
        """Takes changed files; call it now and then."""
        if (state := self._files.state()) != self._seen:
            self._seen = state
            self.load()

    def load(self) -> None:
        try:
            self._newest = self._files.context()
        except StartupFault as fault:
            _log.error("certificate refused, the last good one stays", extra={"fields": {"fault": str(fault)}})
        else:
            _log.info("certificate read anew")

    def _begin(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL calls it in every handshake, also where the client names no host."""
        connection.context = self._newest


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _said(fault: OSError) -> str:
    if not isinstance(fault, ssl.SSLError):
        return f"GATEWAY_TLS_CERT or GATEWAY_TLS_KEY cannot be read ({fault.strerror}); check path and permissions"
    if "MISMATCH" in (fault.reason or ""):
        return "GATEWAY_TLS_KEY is not the private key of the certificate in GATEWAY_TLS_CERT"
    return (
        "GATEWAY_TLS_CERT and GATEWAY_TLS_KEY must be PEM, a certificate with its chain and its private key; "
        "a key behind a passphrase needs GATEWAY_TLS_KEY_PASSWORD"
    )
