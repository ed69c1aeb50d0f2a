"""Small audit folders, written by the gateway's own code."""

from __future__ import annotations

from pathlib import Path

from gateway.audit.chain import PART_BYTES, Chain
from gateway.audit.lines import Head, fields_of
from gateway.audit.place import PLACE_FILE
from gateway.audit.verify import verify

KEY = b"k" * 32
PLACE = "0123456789abcdef"
OWNERS = ("00000000000a", "00000000000b")


def entries(folder: Path, owner: str = OWNERS[0], count: int = 0, part_bytes: int = PART_BYTES) -> Chain:
    chain = Chain(KEY, folder, f"chain-{owner}", part_bytes=part_bytes)
    add(chain, count)
    return chain


def add(chain: Chain, count: int) -> None:
    for _ in range(count):
        chain.append(fields_of(at=1000.0 + chain.n, what="sent", request=f"r{chain.n}", tenant="acme"))


def seal(seals: Chain, *chains: Chain, at: float = 2000.0) -> None:
    """As a Sealer does, without a store."""
    heads = {chain.name: Head(chain.n, chain.mac, PLACE) for chain in chains}
    seals.append(fields_of(at=at, place=PLACE, heads=heads))


def sealer(folder: Path, owner: str = OWNERS[0]) -> Chain:
    (folder / PLACE_FILE).write_text(PLACE + "rest")
    return Chain(KEY, folder, f"seals-{owner}")


def findings(folder: Path) -> list[str]:
    return verify(folder, KEY).findings
