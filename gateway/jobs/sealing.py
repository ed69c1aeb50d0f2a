"""What a caller asked for lies encrypted in the store: whoever reads that, or a copy of its disk, reads no prompt.

AES-256-GCM; the job's id and tenant are authenticated along, so that no body can be put under another job. All keys
here come from one secret: the sealing key, the key of the ids and that of the digests differ by what they are for.
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.jobs.ids import Ids
from gateway.store.sealing import BadSeal

_BODY, _IDS, _DIGESTS = b"gateway jobs: bodies", b"gateway jobs: ids", b"gateway jobs: digests"
_NONCE_BYTES = 12
"""As NIST SP 800-38D has it; random, since one key seals far fewer than 2^32 bodies."""


class Vault:
    """Made from `secret`, which all replicas share; its repr says nothing of it."""

    def __init__(self, secret: bytes) -> None:
        self._aead = AESGCM(hmac.digest(secret, _BODY, "sha256"))
        self._digests = hmac.digest(secret, _DIGESTS, "sha256")
        self.ids = Ids(hmac.digest(secret, _IDS, "sha256"))

    def close(self, id: str, tenant: str, body: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, body, _bound(id, tenant))

    def open(self, id: str, tenant: str, sealed: bytes) -> bytes:
        """Raises BadSeal."""
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(id, tenant))
        except (InvalidTag, ValueError):
            raise BadSeal("a job's body was not sealed with our key") from None

    def digest(self, *parts: bytes) -> str:
        """What tells two bodies, or two Idempotency-Keys, apart and says nothing of them."""
        return hmac.digest(self._digests, b"".join(b"%d:%b" % (len(part), part) for part in parts), "sha256").hex()


def _bound(id: str, tenant: str) -> bytes:
    return f"{id}\0{tenant}".encode()
