import pytest

from demo.turnstile import Turnstile, network_of


class Clock:
    now = 5_000.0

    def __call__(self):
        return self.now


def test_so_many_come_at_once_and_then_one_after_each_interval():
    clock = Clock()
    turnstile = Turnstile(at_once=3, seconds=60, clock=clock)
    assert [turnstile.admits("192.0.2.1") for _ in range(5)] == [True, True, True, False, False]
    clock.now += 59
    assert not turnstile.admits("192.0.2.1")
    clock.now += 1
    assert [turnstile.admits("192.0.2.1") for _ in range(2)] == [True, False]
    clock.now += 180
    assert [turnstile.admits("192.0.2.1") for _ in range(4)] == [True, True, True, False]


def test_a_place_that_is_given_back_is_free_at_once():
    clock = Clock()
    turnstile = Turnstile(at_once=2, seconds=60, clock=clock)
    assert [turnstile.admits("192.0.2.1") for _ in range(3)] == [True, True, False]
    turnstile.give_back("192.0.2.1")
    assert [turnstile.admits("192.0.2.1") for _ in range(2)] == [True, False]
    turnstile.give_back("198.51.100.1")  # of one who took none
    assert turnstile.held == 1


def test_other_addresses_do_not_wait():
    turnstile = Turnstile(at_once=1)
    assert turnstile.admits("192.0.2.1")
    assert turnstile.admits("192.0.2.2")
    assert not turnstile.admits("192.0.2.1")


def test_addresses_are_forgotten_once_they_count_nothing():
    clock = Clock()
    turnstile = Turnstile(at_once=3, seconds=60, clock=clock)
    for number in range(200):
        turnstile.admits(f"192.0.2.{number}")
    assert turnstile.held == 200
    clock.now += 61
    turnstile.admits("198.51.100.1")
    assert turnstile.held == 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"), ("testclient", "testclient"), ("", ""),
    ],
)  # fmt: skip
def test_an_ipv6_household_is_one_network(address, network):
    assert network_of(address) == network
