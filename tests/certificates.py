"""A certificate authority for one test run, made with the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Pair:
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """`own.cert` is what its friends trust. Everything it makes is good for a day."""

    folder: Path
    own: Pair

    @classmethod
    def make(cls, folder: Path, name: str = "authority") -> Authority:
        own = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl("req", "-x509", *_NEW_KEY, "-days", "1", "-subj", f"/CN={name}", "-keyout", own.key, "-out", own.cert)
        return cls(folder, own)

    def issue(self, name: str, host: str = "localhost") -> Pair:
        """A certificate of this authority for `host`, and its key."""
        made = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        request, more = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        more.write_text(f"subjectAltName=DNS:{host}\n")
        _openssl("req", "-new", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)
        signed = ("-CA", self.own.cert, "-CAkey", self.own.key, "-CAcreateserial", "-days", "1", "-extfile", more)
        _openssl("x509", "-req", "-in", request, *signed, "-out", made.cert)
        return made


def encrypted(key: Path) -> Path:
    """The same private key behind a passphrase."""
    made = key.with_suffix(".locked")
    _openssl("pkcs8", "-topk8", "-in", key, "-passout", "pass:open sesame", "-out", made)
    return made


def _openssl(*arguments: str | Path) -> None:
    try:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl command")
