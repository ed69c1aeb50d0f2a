"""Which addresses belong to the public internet. Pure.

The list of what does not is the standard library's of IANA's special-purpose registries, and what those miss: IPv4
addresses that are written inside IPv6 ones are judged as the IPv4 addresses that they lead to.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is reached."""
_UNICAST = IPv6Network("2000::/3")
"""RFC 4291 section 2.4: all that IANA gives out as global unicast."""
_RELAYS = (IPv4Address("192.88.99.0"), IPv4Address("192.88.99.255"))
"""RFC 7526: anycast of 6to4 relays, which nobody may answer at."""


def is_public(address: str) -> bool:
    """Whether `address` (an IP address, with or without a zone) may be reached on behalf of somebody whom we do not
    trust: no private, loopback, link-local (169.254.169.254 is where clouds tell credentials), carrier, multicast,
    reserved or unspecified one, in whatever clothes. False for what is no address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        inner = _inner(ip)
        if inner is not None:
            return _public_v4(inner)
        return ip.scope_id is None and ip in _UNICAST and ip.is_global and not ip.is_multicast
    return _public_v4(ip)


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that it stands for: mapped, 6to4, NAT64. Teredo is no global address, so it needs no look."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    return IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None


def _public_v4(ip: IPv4Address) -> bool:
    relay = _RELAYS[0] <= ip <= _RELAYS[1]
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not relay
