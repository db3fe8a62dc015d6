"""Loopback: which hosts are this machine alone, and which are addresses."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a name or address is of this machine alone."""
    return host.lower() == "localhost" or (is_address(host) and ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    """Whether it is an IP address, not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
