"""The synchronous face, for scripts."""

from __future__ import annotations

import socket

import pytest
from conftest import Node, Room

import callsign
import callsign.sync


def test_a_script_looks_up_registers_and_connects(room: Room, node: Node) -> None:
    with callsign.sync.connect(node.endpoint) as client, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(room.path / "feed"))
        listener.listen()
        ((_, whoami),) = client.whoami()
        assert isinstance(whoami, callsign.Whoami)
        assert client.query("feed").records == ()
        with pytest.raises(callsign.TimedOut, match="no such actor is registered"):
            client.wait("feed", timeout=0.1)
        with pytest.raises(callsign.NotFound):
            client.find("feed")
        with client.watch("*") as watch, client.register("feed", listener) as feed:
            assert client.wait("feed").uuid == feed.instance.uuid
            with client.find("feed") as found:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(b"hello")
                    assert found.socket.recv(16) == b"hello"
                assert found.assurance is callsign.Assurance.UNPROVED
            kinds = []
            for change in watch:
                kinds.append(change.kind)
                if change.kind == "add":
                    break
            feed.set_state("draining")
            assert [it.state for it in client.list("*").records] == ["draining"]
        assert client.list().records == ()


def test_an_error_ends_the_block_as_it_is(room: Room, node: Node) -> None:
    with pytest.raises(ZeroDivisionError), callsign.sync.connect(node.endpoint) as client:
        with client.register("feed", room.abstract("feed")):
            raise ZeroDivisionError
    with pytest.raises(callsign.Unreachable), callsign.sync.connect(room.unix("nobody")):
        pass


def test_a_remembered_answer_tells_its_age(room: Room, node: Node) -> None:
    with callsign.sync.connect(node.endpoint) as client, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(room.path / "feed"))
        listener.listen()
        with client.register("feed", listener):
            with client.find("feed", max_age=60) as found:
                assert (found.age, found.unanswered) == (None, ())
            node.kill()
            with client.find("feed", max_age=60) as found:
                assert found.age is not None
                assert len(found.unanswered) == 1
            node.start()


def test_an_unknown_option_is_named() -> None:
    for connect, name in (
        (callsign.connect, "connect"),
        (callsign.open, "open"),
        (callsign.sync.connect, "connect"),
    ):
        words = rf"^{name}\(\) got an unexpected keyword argument 'patient'$"
        with pytest.raises(TypeError, match=words):
            connect("/unix/@never", patient=0.1)
