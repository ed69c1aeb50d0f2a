"""A pooled HTTP/1.1 client on asyncio.Protocol and llhttp: what the request path needs, and nothing else."""

from gateway.upstreams.http1.connection import Address
from gateway.upstreams.http1.exchange import Exchange, Source
from gateway.upstreams.http1.pool import Pool, freely
from gateway.upstreams.http1.wire import request_head

__all__ = ["Address", "Exchange", "Pool", "Source", "freely", "request_head"]
