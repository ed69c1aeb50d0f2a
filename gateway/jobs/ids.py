"""Names of jobs: nobody can guess one, and a forged or foreign one is known without a look at the store.

`video_` or `job_`, 128 random bits and 64 bits of HMAC-SHA-256 over them and the tenant, all in hex: as long as
OpenAI's own. The MAC is short because guessing it is not enough: the record must be there, and be that tenant's.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Literal

JobPrefix = Literal["job_", "video_"]
_RANDOM_BYTES, _MAC_BYTES = 16, 8
_FORM = re.compile(rf"(?:job_|video_)[0-9a-f]{{{2 * (_RANDOM_BYTES + _MAC_BYTES)}}}")


class Ids:
    """Makes and knows ids under one key; its repr says nothing of the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new(self, prefix: JobPrefix, tenant: str) -> str:
        bare = prefix + secrets.token_hex(_RANDOM_BYTES)
        return bare + self._mac(bare, tenant)

    def known(self, id: str, tenant: str) -> bool:
        """Whether this gateway gave it to this tenant."""
        if _FORM.fullmatch(id) is None:
            return False
        bare, mac = id[: -2 * _MAC_BYTES], id[-2 * _MAC_BYTES :]
        return hmac.compare_digest(mac, self._mac(bare, tenant))

    def _mac(self, bare: str, tenant: str) -> str:
        return hmac.digest(self._key, f"{bare}\0{tenant}".encode(), "sha256")[:_MAC_BYTES].hex()
