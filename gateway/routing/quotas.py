"""Which quotas a request and its attempts draw on, and the most that they may take of them. Pure; what is found is
remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gateway.model import Decision, GenRequest, Kind, Learned, Model, Offer, Policy, Price, Quota, Tenant, Tokens
from gateway.routing.bill import Dearest
from gateway.routing.board import remember
from gateway.routing.estimate import longest_prompt, prompt_tokens
from gateway.routing.globs import fits
from gateway.routing.units import most_of_media

TYPICAL_MULTIPLE = 2.0
"""What is set aside of a limit of tokens for an answer that nobody bounds: so many times the mean of its model. An
answer longer than that takes what it took all the same, when it is over."""


class _Attempt(NamedTuple):
    """`tenant` and `shared` are ids: hashing either costs more than the whole look-up. The entry keeps both alive."""

    tenant: int
    shared: int
    model: str
    backend: str
    kind: Kind
    pipeline: str | None


@dataclass(slots=True)
class Quotas:
    """One per process."""

    _prices: dict[int, tuple[Price, Dearest | None]] = field(default_factory=dict)
    """None: free, whatever it is used for."""
    _requests: dict[int, tuple[Tenant, tuple[Quota, ...]]] = field(default_factory=dict)
    _attempts: dict[_Attempt, tuple[Tenant, tuple[Quota, ...], tuple[Quota, ...]]] = field(default_factory=dict)

    def of_request(self, tenant: Tenant) -> tuple[Quota, ...]:
        """Requests, tokens, and requests at once: taken before anything is decided."""
        if not tenant.quotas:
            return ()
        known = self._requests.get(id(tenant))
        if known is None:
            found = tuple(one for one in tenant.quotas if one.unit != "usd")
            known = remember(self._requests, id(tenant), (tenant, found))
        return known[1]

    def of_attempt(
        self, tenant: Tenant, shared: tuple[Quota, ...], model: str, backend: str, kind: Kind, pipeline: str | None
    ) -> tuple[Quota, ...]:
        """Money: of its key and tenant, and of `shared` (`Policy.quotas`) those that are about it."""
        if not tenant.quotas and not shared:
            return ()
        key = _Attempt(id(tenant), id(shared), model, backend, kind, pipeline)
        known = self._attempts.get(key)
        if known is None:
            found = tuple(
                one
                for one in (*tenant.quotas, *shared)
                if one.unit == "usd" and about(one, model, backend, kind, pipeline)
            )
            known = remember(self._attempts, key, (tenant, shared, found))
        return known[2]

    def most_charged(self, request: GenRequest, model: Model, price: Price, offer: Offer | None = None) -> int | None:
        """The most that a bought attempt can cost, in micro-dollars; None where nothing bounds that."""
        if request.media is not None:
            return 0 if _is_free(price) else most_of_media(price, request.endpoint, request.media, offer)
        known = self._prices.get(id(price))
        if known is None:
            known = remember(self._prices, id(price), (price, None if _is_free(price) else Dearest.of(price)))
        dearest = known[1]
        if dearest is None:
            return 0
        tokens = most_tokens(request, model)
        if tokens is None or (price.media and not request.text_only):  # nobody counts the pictures of a prompt
            return None
        return dearest.most(tokens.prompt, tokens.output)


def about(quota: Quota, model: str, backend: str, kind: Kind, pipeline: str | None) -> bool:
    """Whether a budget is charged for an attempt there: all that it names must hold. Work of our own GPUs counts only
    where it says so."""
    return (
        (kind == "managed" or quota.local)
        and fits(model, quota.models)
        and (not quota.backends or backend in quota.backends)
        and (not quota.pipelines or (pipeline is not None and fits(pipeline, quota.pipelines)))
    )


class Most(NamedTuple):
    """Tokens that an attempt cannot go beyond."""

    prompt: int
    output: int


def most_tokens(request: GenRequest, model: Model) -> Most | None:
    """None where nothing bounds them: no cap on the output, or a prompt that is not text alone for a model whose
    `context_tokens` nobody says."""
    output = request.max_tokens if request.max_tokens is not None else model.output_cap
    prompt = longest_prompt(request) if request.text_only else model.input_cap
    if output is None or prompt is None:
        return None
    return Most(prompt if model.input_cap is None else min(prompt, model.input_cap), output * request.n)


def _is_free(price: Price) -> bool:
    return price.tokens == Tokens() and not (price.per_request or price.tiers or price.media)


def tokens_of(request: GenRequest, model: Model | None, learned: Learned) -> int:
    """What is set aside of limits of tokens: the prompt as its model's prompts are, and the longest answer: the
    caller's cap, else the model's, else what is typical."""
    each = request.max_tokens
    if each is None and model is not None:
        each = model.output_cap
    if each is None:
        each = round(TYPICAL_MULTIPLE * learned.output)
    return prompt_tokens(request, learned) + each * request.n


def home_first(decision: Decision) -> Decision:
    """The same past a soft budget: our own workers before all that is bought, and as long a wait for them as if it
    could not leave. Unchanged where none of ours may serve it."""
    home = tuple([group for group in decision.primary if is_home(decision.policy, group.backend)])
    if not home:
        return decision
    bought = tuple([group for group in decision.primary if not is_home(decision.policy, group.backend)])
    return replace(
        decision,
        primary=home,
        overflow=(*bought, *decision.overflow),
        max_wait=max(decision.max_wait, decision.kept_wait),
        spill_now=None,
    )


def is_home(policy: Policy, backend: str) -> bool:
    return policy.kind(backend) == "local"


def all_quotas(policy: Policy, others: Iterable[Tenant] = ()) -> tuple[Quota, ...]:
    """Every one that there is, each once: of budgets.yaml, of tenants, of their keys, and of `others`: those whose keys
    the policy does not have."""
    tenants = (*policy.tenants.values(), *policy.keys.values(), *others)
    found = {one.name: one for one in (*policy.quotas, *(one for tenant in tenants for one in tenant.quotas))}
    return tuple(found.values())


class Room(NamedTuple):
    """What is `left` of a limit for so many seconds (`resets`)."""

    quota: Quota
    left: int
    resets: float


def tightest(rooms: Sequence[Room]) -> Room:
    """The one of several that is used up first; of equals the one that is so for longer."""
    return min(rooms, key=lambda one: (one.left, -one.resets))
