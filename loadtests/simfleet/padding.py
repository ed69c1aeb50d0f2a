"""What else is on a busy vLLM's page: the web framework's histograms per route and the collector's series. They make a
page of tens of kilobytes, and a scraper must find its few lines among them."""

from __future__ import annotations

EDGES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0)
"""Buckets of prometheus-fastapi-instrumentator's `http_request_duration_highr_seconds`."""
PLAIN_KB = 34
"""A page without padding, about."""
KB = 1024
ROUTES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/models",
    "/health",
    "/tokenize",
)
METHODS = ("GET", "POST")


def padding(page_kb: int) -> tuple[list[str], str]:
    """Lines to put before vLLM's own, and text to put behind them, so that a page has about `page_kb` KiB."""
    wanted = max(0, page_kb - PLAIN_KB) * KB
    before = _histogram("http_request_size_bytes", wanted // 2)
    after = _histogram("http_request_duration_highr_seconds", wanted - wanted // 2)
    return before, "\n".join([*after, ""]) if after else ""


def filler(size: int) -> bytes:
    """About `size` bytes of series that nobody asked for."""
    return ("\n".join(_histogram("http_request_duration_highr_seconds", size)) + "\n").encode()


def _histogram(name: str, size: int) -> list[str]:
    if size <= 0:
        return []
    lines = [f"# HELP {name} By handler.", f"# TYPE {name} histogram"]
    length, series = sum(map(len, lines)), 0
    while length < size:
        route, method = ROUTES[series % len(ROUTES)], METHODS[series // len(ROUTES) % len(METHODS)]
        block = _series(name, f'handler="{route}",method="{method}",status="{200 + series // 14}"', series)
        lines += block
        length += sum(map(len, block)) + len(block)
        series += 1
    return lines


def _series(name: str, labels: str, seed: int) -> list[str]:
    counts = [seed + 37 * place for place in range(len(EDGES) + 1)]
    edges = [*(str(edge) for edge in EDGES), "+Inf"]
    lines = [f'{name}_bucket{{{labels},le="{edge}"}} {float(count)}' for edge, count in zip(edges, counts, strict=True)]
    return [*lines, f"{name}_count{{{labels}}} {float(counts[-1])}", f"{name}_sum{{{labels}}} {1.37 * counts[-1]!r}"]
