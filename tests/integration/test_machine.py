"""Which ports ``make up`` takes."""

import socket

import pytest
from caesarion_hub.up import UpError, machine

from tests.hub import free_port


def test_free_ports_are_free_and_differ() -> None:
    ports = machine.free_ports(3, but="")
    assert len(set(ports)) == 3
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_the_port_that_was_chosen_is_not_taken_for_another_purpose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = free_port()
    create_server = socket.create_server
    wanted = iter([chosen])
    monkeypatch.setattr(
        socket,
        "create_server",
        lambda address, **rest: create_server((address[0], next(wanted, 0)), **rest),
    )
    ports = machine.free_ports(3, but=str(chosen))
    assert len(ports) == 3
    assert chosen not in ports


def test_a_port_that_was_just_in_use_may_be_claimed_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        # The side that closes first keeps the port in TIME_WAIT.
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
    machine.claim(port)


def test_a_taken_port_cannot_be_claimed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UpError, match=f"^Port {port} is in use by another program"):
            machine.claim(port)
