"""The fleet of the comparison in simulated time: workers with a block cache each, leases, and who places what."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from heapq import heappop, heappush
from ipaddress import ip_network
from itertools import count
from random import Random
from typing import Protocol

from gateway.fleet.prefixes import Prefixes
from gateway.model import (
    Demand,
    GenRequest,
    Match,
    Model,
    Policy,
    Rule,
    Served,
    Slo,
    Snapshot,
    Speed,
    Tenant,
    Timeouts,
    Upstream,
    UpstreamState,
)
from gateway.routing.affinity import beginnings
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.pickers import pick
from gateway.routing.priors import work_us
from loadtests.affinity.trace import BLOCK_TOKENS, Row

SPEED = Speed(8.0, 0.06, 0.04)
SEATS = 128
CACHE_TOKENS = 1_000_000
"""Of one worker: some 400,000 in the memory of two H100 for a model of 70B (loadtests/model), and as much again and a
half in the host's (KV offloading)."""
LIMIT_SECONDS = 4
"""Work that a worker may hold: what is before a request for a first token within some four seconds."""
REFRESH_SECONDS = 0.25
"""How old a replica's snapshot may be (fleet.view)."""
REPLICAS = 2
BYTES_PER_BLOCK = 2048
"""512 tokens of about 4 bytes."""
BACKEND, MODEL = "fleet", "m"


@dataclass(slots=True)
class Cache:
    """Blocks of a prompt are held from its beginning on: the first one missing ends the hit. `most` None: endless."""

    most: int | None
    _blocks: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def read(self, blocks: tuple[int, ...]) -> int:
        """How many of the first blocks were there; all of them are then."""
        hits = 0
        while hits < len(blocks) and blocks[hits] in self._blocks:
            hits += 1
        for block in reversed(blocks):  # the beginning is the newest: the end of a prompt is evicted first
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while self.most is not None and len(self._blocks) > self.most:
            self._blocks.popitem(last=False)
        return hits


@dataclass(slots=True)
class Host:
    cache: Cache
    leased: int = 0
    count: int = 0
    requests: int = 0
    held: float = 0.0
    """Leased work times seconds: the load that it had."""
    since: float = 0.0

    def move(self, now: float, work: int, count: int) -> None:
        self.held += self.leased * (now - self.since)
        self.since = now
        self.leased += work
        self.count += count


class Placer(Protocol):
    def place(self, row: Row, hosts: list[Host], now: float) -> int | None:
        """The worker; None where nobody has room."""


@dataclass(slots=True)
class RoundRobin:
    _next: count[int] = field(default_factory=count)

    def place(self, row: Row, hosts: list[Host], now: float) -> int | None:
        return next(self._next) % len(hosts)


@dataclass(slots=True)
class Gateways:
    """REPLICAS of the real decision and pick, each request at one of them by chance, each with its own memory."""

    policy: Policy
    rng: Random
    remembers: bool = True
    tells: bool = True
    """Whether the replicas tell each other where they sent what."""
    boards: list[Board | None] = field(default_factory=lambda: [None] * REPLICAS)
    prefixes: list[Prefixes] = field(default_factory=lambda: [Prefixes() for _ in range(REPLICAS)])

    def place(self, row: Row, hosts: list[Host], now: float) -> int | None:
        replica = self.rng.randrange(REPLICAS)
        memory, begins = self.prefixes[replica], begins_of(row)
        asked = request_of(row, begins)
        if self.remembers:
            asked = memory.known(asked)
        group = decide(asked, self._board(replica, hosts, now), self.rng).primary[0]
        rows = [self.policy.backends[BACKEND].index(one.upstream) for one in group.candidates]
        at = pick(group.candidates, [hosts[i].leased for i in rows], [hosts[i].count for i in rows], group.load_weight)
        if at is None:
            return None
        if self.remembers:
            memory.sent(asked, group.candidates[at].upstream.name)
        return rows[at]

    def _board(self, replica: int, hosts: list[Host], now: float) -> Board:
        board = self.boards[replica]
        if board is None or now - board.snapshot.at >= REFRESH_SECONDS:
            ups = self.policy.backends[BACKEND]
            states = {
                one.name: UpstreamState(one, leased=host.leased, inflight=host.count)
                for one, host in zip(ups, hosts, strict=True)
            }
            if self.tells:
                self._exchange()
            board = self.boards[replica] = Board(self.policy, Snapshot(now, states, replicas=REPLICAS))
        return board

    def _exchange(self) -> None:
        """As through the store, with every look at it."""
        for one in self.prefixes:
            news, one.news = one.news, []
            for other in self.prefixes:
                if other is not one:
                    other.heard(news)


def request_of(row: Row, begins: tuple[int, ...]) -> GenRequest:
    return GenRequest(
        id="r",
        endpoint="chat/completions",
        model=MODEL,
        tenant=Tenant("t"),
        body=b"",
        prompt_bytes=row.prompt * BYTES_PER_BLOCK // BLOCK_TOKENS,
        max_tokens=None,
        prefix=begins[0] if begins else None,
        beginnings=begins,
    )


def begins_of(row: Row) -> tuple[int, ...]:
    """As the edge makes them of a body: a text of its own for each block, under the usual head."""
    last = row.prompt % BLOCK_TOKENS * BYTES_PER_BLOCK // BLOCK_TOKENS
    texts = [text_of(block) for block in row.blocks]
    if last and texts:
        texts[-1] = texts[-1][:last]
    return beginnings([b'[{"role":"user","content":"', *texts, b'"}]'])


@lru_cache(maxsize=1 << 15)
def text_of(block: int) -> bytes:
    return blake2b(str(block).encode()).hexdigest().encode() * (BYTES_PER_BLOCK // 128)


def policy_of(workers: int, scorers: dict[str, float]) -> Policy:
    """As docs/policies.md would have it: `scorers: {prefix: 2, load: 1}`."""
    ups = tuple(
        Upstream(
            f"w{n + 1}",
            BACKEND,
            "local",
            "http://10.0.0.1:8000",
            "openai",
            "here",
            (ip_network("10.0.0.0/8"),),
            SPEED,
            LIMIT_SECONDS * 1_000_000,
            SEATS,
            engine="vllm",
        )
        for n in range(workers)
    )
    rule = Rule(
        "chat",
        Match(),
        (BACKEND,),
        Slo(),
        0.0,
        None,
        (),
        3,
        Timeouts(),
        Demand(),
        {},
        learned=False,
        scorers=tuple(scorers.items()),
    )
    return Policy(
        version="affinity",
        zones={"here": frozenset({"here"})},
        backends={BACKEND: ups},
        upstreams={one.name: one for one in ups},
        models={MODEL: Model(MODEL, "text", (Served(BACKEND, MODEL),))},
        rules=(rule,),
        tenants={},
        keys={},
        simulated=True,
        affine="prefix" in scorers,
    )


@dataclass(frozen=True, slots=True)
class Figures:
    hits: int
    """Tokens whose prefill was saved."""
    load: list[float]
    """Of each worker: leased work times seconds."""
    requests: list[int]
    waited: int

    @property
    def busiest(self) -> float:
        """Load of the busiest worker as a multiple of the mean."""
        return max(self.load) * len(self.load) / sum(self.load)

    @property
    def most_asked(self) -> float:
        return max(self.requests) * len(self.requests) / sum(self.requests)


@dataclass(slots=True)
class Site:
    placer: Placer
    hosts: list[Host]
    hits: int = 0
    waited: int = 0
    _events: list[tuple[float, int, int, int, int]] = field(default_factory=list)
    """(when, number, worker, work given back, requests ended)."""
    _numbers: count[int] = field(default_factory=count)
    _line: deque[Row] = field(default_factory=deque)

    def play(self, rows: list[Row]) -> Figures:
        for row in rows:
            self._until(row.at)
            if self._line or not self._start(row, row.at):
                self.waited += 1
                self._line.append(row)
        self._until(float("inf"))
        return Figures(
            self.hits, [host.held for host in self.hosts], [host.requests for host in self.hosts], self.waited
        )

    def _until(self, at: float) -> None:
        while self._events and self._events[0][0] <= at:
            now, _, worker, work, ended = heappop(self._events)
            self.hosts[worker].move(now, -work, -ended)
            while self._line and self._start(self._line[0], now):
                self._line.popleft()

    def _start(self, row: Row, now: float) -> bool:
        """The lease is of the whole prompt, as nobody knows what is cached; at the first token its part ends."""
        worker = self.placer.place(row, self.hosts, now)
        if worker is None:
            return False
        host = self.hosts[worker]
        found = min(row.prompt, host.cache.read(row.blocks) * BLOCK_TOKENS)
        self.hits += found
        work = min(work_us(SPEED, SEATS, row.prompt, row.output), LIMIT_SECONDS * 1_000_000)
        left = min(work, work_us(SPEED, SEATS, 0, row.output))
        host.requests += 1
        host.move(now, work, 1)
        each = (SPEED.step_ms + SPEED.per_seq_ms * host.count) / 1000
        first = now + each + (row.prompt - found) * SPEED.per_prompt_token_ms / 1000 * max(1, host.count / 4)
        heappush(self._events, (first, next(self._numbers), worker, work - left, 0))
        heappush(self._events, (first + row.output * each, next(self._numbers), worker, left, 1))
        return True


def run(rows: list[Row], workers: int, placer: Placer) -> Figures:
    cache = CACHE_TOKENS // BLOCK_TOKENS
    return Site(placer, [Host(Cache(cache)) for _ in range(workers)]).play(rows)


def endless(rows: list[Row]) -> int:
    """Tokens that one worker would find that never forgets."""
    cache = Cache(None)
    return sum(min(row.prompt, cache.read(row.blocks) * BLOCK_TOKENS) for row in rows)
