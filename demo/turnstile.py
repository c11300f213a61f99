"""How many may join a study from one network address.

That slows a script down and no more: a small study can still be filled from one address, whoever serves it.
Addresses are held in memory while they are counted, at most half an hour, and never written.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable

AT_ONCE = 30
"""Newcomers from one address whom nobody makes wait: a class behind one router."""
SECONDS = 60.0
"""Time after which one more may come."""


class Turnstile:
    """A token bucket for every network address.

    Args:
        at_once: Newcomers who may come at once.
        seconds: Time after which one more may come.
        clock: Seconds since any moment.
    """

    def __init__(
        self, at_once: int = AT_ONCE, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.at_once, self.seconds, self.clock = at_once, seconds, clock
        self._free_at: dict[str, float] = {}  # network → when all its places will be free again
        self._lock = threading.Lock()

    def admits(self, address: str) -> bool:
        """Take a place for a newcomer from an address, if there is one."""
        network = network_of(address)
        with self._lock:
            now = self.clock()
            self._free_at = {key: value for key, value in self._free_at.items() if value > now}
            free_at = max(self._free_at.get(network, now), now) + self.seconds
            if free_at > now + self.at_once * self.seconds:
                return False
            self._free_at[network] = free_at
            return True

    def give_back(self, address: str) -> None:
        """Return the place of a newcomer who was not let in."""
        network = network_of(address)
        with self._lock:
            if network in self._free_at:
                self._free_at[network] -= self.seconds

    @property
    def held(self) -> int:
        """Number of addresses in memory."""
        return len(self._free_at)


def network_of(address: str) -> str:
    """Return what is counted as one address: IPv4 as it is, of IPv6 the /64, which one household has to itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
