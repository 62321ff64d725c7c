"""Each attack, shortly: what is promised holds. Only the command looks at times, on an idle machine."""

from __future__ import annotations

import pytest

import attack

pytestmark = pytest.mark.timeout(240)


def _run(name: str, count: float) -> None:
    outcome = attack.load(name).attack(count)
    assert not outcome.broken and outcome.measured


def test_every_attack_has_its_test() -> None:
    """And says in a line what it is."""
    source = (attack.ATTACKS / "test_attacks.py").read_text() + (attack.ATTACKS / "test_kill_trainer.py").read_text()
    for name in attack.names():
        assert attack.load(name).__doc__ and attack.load(name).COUNT > 0
        assert f'"{name}"' in source or f"attacks.{name.replace('-', '_')} " in source, name


@pytest.mark.fault(5, 6, 9, 10, 12)
def test_fuzzed_connections_leave_nothing() -> None:
    """By ipc and by tcp, half of them past the handshake."""
    _run("fuzz-connections", 1000)


@pytest.mark.fault(19, 20, 21, 23, 24, 25, 26, 29)
def test_mutated_headers_get_typed_errors() -> None:
    """Or are taken."""
    _run("mutated-headers", 50_000)


@pytest.mark.fault(44, 45, 55, 57, 58)
def test_random_sequences_follow_the_protocol() -> None:
    """Of a model of it."""
    _run("sequences", 300)


@pytest.mark.fault(13)
def test_idle_peers_disturb_nobody() -> None:
    """They all come in, stay, and go without a trace."""
    _run("idle-peers", 300)


@pytest.mark.fault(9, 10)
def test_half_open_connections_are_closed() -> None:
    """In whatever state they stop."""
    _run("half-open", 18)


@pytest.mark.fault(74, 75, 76)
def test_strangers_deliver_nothing() -> None:
    """Six kinds of them."""
    _run("strangers", 2)


@pytest.mark.fault(55)
def test_cancelled_job_makes_room_for_the_next() -> None:
    """After any step."""
    _run("cancel", 3)


@pytest.mark.fault(47, 48, 49)
def test_overload_is_shared_out() -> None:
    """Everybody gets an answer, and its part."""
    _run("overload", 4)


@pytest.mark.fault(61, 73)
def test_killed_servers_lose_no_job() -> None:
    """The client goes on with the next one."""
    _run("kill-server", 3)


@pytest.mark.fault(53, 54)
def test_killed_clients_leave_nothing() -> None:
    """While they send, while they are painted for, while they fetch."""
    _run("kill-client", 5)


@pytest.mark.fault(36, 40, 42)
def test_random_shapes_come_back_whole() -> None:
    """In every layout and depth."""
    _run("random-shapes", 80)


@pytest.mark.fault(60, 62)
def test_server_answers_whatever_its_worker_does() -> None:
    """It computes, hangs, dies."""
    _run("answers", 50)


@pytest.mark.fault(30, 59)
def test_half_a_minute_of_soak_leaves_nothing() -> None:
    """Too short for a slope; with every fault in it, and every result right."""
    _run("soak", 0.5)
