"""TLS: registrars and actors at `…/tls`, and what each side says of the other's certificate."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import pytest
from anyio.streams.tls import TLSStream
from conftest import LIMIT, Node, Room, binary, greet
from conftest import listen as listen_plainly

import callsign
from callsign import binding, kernel
from callsign.credentials import Credentials
from callsign.identity import Key
from callsign.messages import Challenge
from callsign.secure import TlsSocket, shake_hands, wrap

pytestmark = pytest.mark.anyio

TLS = "/ip4/127.0.0.1/tcp/0/tls"
PLAIN = "/ip4/127.0.0.1/tcp/0"


def keys(room: Room, *args: str) -> None:
    subprocess.run(
        [binary(), "keys", *args], cwd=room.path, env=room.environment, check=True, timeout=LIMIT
    )


def authority(room: Room, folder: str = "keys") -> callsign.Tls:
    """Makes an authority with certificates for a node at the loopback, and for a client."""
    keys(room, "init", folder)
    keys(room, "issue", folder, "node", "--host", "127.0.0.1")
    keys(room, "issue", folder, "client")
    return files(room, folder, "client")


def files(room: Room, folder: str, name: str) -> callsign.Tls:
    at = room.path / folder
    return callsign.Tls(at / "ca.pem", at / f"{name}.pem", at / f"{name}.key")


def settings(room: Room, tls: callsign.Tls, more: str = "") -> str:
    """Writes settings, and returns their path."""
    path = room.path / f"{Path(tls.certificate).parent.name}-{Path(tls.certificate).stem}.toml"
    path.write_text(
        f'[tls]\nca = "{tls.ca}"\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\n{more}'
    )
    return str(path)


def node_at(room: Room, listen: str = TLS, folder: str = "keys") -> Node:
    return room.node(listen, CALLSIGN_CONFIG=settings(room, files(room, folder, "node")))


async def test_a_registrar_is_asked_over_tls(room: Room) -> None:
    client_files = authority(room)
    node = node_at(room)
    # More than fits a record of TLS, both ways.
    many = [room.abstract(f"{at}-{'long' * 20}") for at in range(40)]
    with anyio.fail_after(LIMIT):
        async with callsign.connect(node.endpoint, tls=client_files) as client:
            told = dict(await client.whoami())[callsign.endpoint(node.endpoint)]
            assert isinstance(told, callsign.Whoami)
            assert "client" in told.owner
            async with client.watch("many") as watch, client.register("many", *many) as registered:
                async for change in watch:
                    if change.kind == "add":
                        break
                (record,) = (await client.query("many")).records
                assert len(record.endpoints) == 40
                node.restart()
                async for change in watch:
                    if change.kind == "add":
                        break
                await registered.accepted()
                assert registered.missing == ()


async def test_the_settings_name_the_certificate(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_files = authority(room)
    node = node_at(room)
    monkeypatch.setenv("CALLSIGN_REGISTRAR", node.endpoint)
    monkeypatch.setenv("CALLSIGN_CONFIG", settings(room, client_files))
    async with callsign.connect() as client:
        assert (await client.query("feed")).records == ()
    # The folder of a service's credentials; and a folder of authorities.
    (room.path / "authorities").mkdir()
    shutil.copy(client_files.ca, room.path / "authorities/one.pem")
    (room.path / "authorities/README").write_text("not one of them")
    folder = "$CREDENTIALS_DIRECTORY"
    moved = callsign.Tls(room.path / "authorities", f"{folder}/client.pem", f"{folder}/client.key")
    monkeypatch.setenv("CALLSIGN_CONFIG", settings(room, moved))
    with pytest.raises(callsign.SettingsError, match=r"\$CREDENTIALS_DIRECTORY is not set"):
        callsign.connect()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(room.path / "keys"))
    async with callsign.connect() as client:
        assert (await client.query("feed")).records == ()


async def refused(at: str, **options: Any) -> callsign.Unreachable:
    with anyio.fail_after(LIMIT), pytest.raises(callsign.Unreachable) as caught:
        async with callsign.connect(at, **options):
            pass
    return caught.value


async def test_what_is_wrong_is_said_in_the_words_of_the_commands(room: Room) -> None:
    client_files, others = authority(room), authority(room, "others")
    node, plain = node_at(room), room.node(PLAIN)
    to_plain = f"{plain.endpoint}/tls"
    port = node.endpoint.split("/")[4]
    by_name = f"/dns/localhost/tcp/{port}/tls"
    cases: list[tuple[str, callsign.Tls | None, str]] = [
        (node.endpoint, others, "no authority that is trusted here signed the certificate"),
        (to_plain, client_files, "within the handshake of TLS: it may not speak TLS"),
        (node.endpoint, None, "TLS needs a certificate, and this program has none"),
        (by_name, client_files, "the certificate of the other side is not for `localhost`"),
    ]
    empty = room.path / "empty.toml"
    empty.write_text("")
    for at, tls, words in cases:
        error = await refused(at, tls=tls, patience=0.0)
        assert words in str(error)
        config = str(empty) if tls is None else settings(room, tls)
        told = await plain.run("--config", config, "--registrar", at, "ls", check=False)
        assert str(error).splitlines()[1].strip() in told
    # Without `/tls` the node sees bytes that are not of TLS.
    error = await refused(node.endpoint.removesuffix("/tls"), ask_timeout=LIMIT)
    assert "does the endpoint lack `/tls`?" in str(error)


async def test_a_certificate_that_the_other_side_does_not_trust_is_its_word(room: Room) -> None:
    client_files, others = authority(room), authority(room, "others")
    node = node_at(room)
    # It trusts the node, and has a certificate of others.
    both = room.path / "both"
    both.mkdir()
    shutil.copy(client_files.ca, both / "one.pem")
    shutil.copy(others.ca, both / "other.pem")
    odd = callsign.Tls(both, others.certificate, others.key)
    error = await refused(node.endpoint, tls=odd)
    assert (
        "the connection broke during the handshake: the other side does not accept this side's "
        "certificate: "
    ) in str(error)
    assert not error.may_pass
    args = ("--config", settings(room, odd), "--registrar", node.endpoint, "ls")
    assert str(error).splitlines()[1].strip() in await node.run(*args, check=False)


async def test_beyond_the_loopback_there_is_tls_or_the_word_insecure(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [it.ip for it in kernel.interfaces() if it.ip.version == 4 and not it.ip.is_loopback]
    if not own:
        pytest.skip("this host has no address beyond the loopback")
    config = room.path / "node.toml"
    config.write_text("[registrar]\ninsecure = true\n")
    node = room.node(f"/ip4/{own[0]}/tcp/0", CALLSIGN_CONFIG=str(config))
    error = await refused(node.endpoint)
    assert f"{node.endpoint}: it is beyond the loopback, and has no TLS" in str(error)
    assert not error.may_pass
    hints = " ".join(error.__notes__)
    assert "`/tls`" in hints
    assert "insecure=True" in hints
    async with callsign.connect(node.endpoint, insecure=True) as client:
        assert (await client.query("feed")).records == ()
    monkeypatch.setenv("CALLSIGN_REGISTRAR", node.endpoint)
    with pytest.raises(callsign.Unreachable, match="has no TLS"):
        async with callsign.connect():
            pass
    monkeypatch.setenv("CALLSIGN_CONFIG", str(config))
    async with callsign.connect() as client:
        assert (await client.query("feed")).records == ()


def expired(room: Room) -> tuple[Path, Path]:
    """Makes a certificate that ended yesterday, and its key."""
    certificate, key = room.path / "late.pem", room.path / "late.key"
    begun = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    begun += [
        "-nodes",
        "-keyout",
        str(key),
        "-out",
        str(room.path / "late.csr"),
        "-subj",
        "/CN=late",
    ]
    extensions = room.path / "extensions"
    extensions.write_text("extendedKeyUsage = serverAuth, clientAuth\n")
    signed = ["openssl", "x509", "-req", "-in", str(room.path / "late.csr"), "-days", "-1"]
    signed += ["-extfile", str(extensions)]
    signed += ["-CA", str(room.path / "keys/ca.pem"), "-CAkey", str(room.path / "keys/ca.key")]
    for command in (begun, [*signed, "-out", str(certificate)]):
        subprocess.run(command, check=True, capture_output=True, timeout=LIMIT)
    key.chmod(0o600)
    return certificate, key


def test_a_fault_of_the_files_is_named(room: Room) -> None:
    good, others = authority(room), authority(room, "others")
    junk, empty = room.path / "junk.pem", room.path / "empty.pem"
    empty.write_text("")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    junk.write_text(f"{begin}\naGVsbG8=\n{end}\n")
    bad_key = room.path / "bad.key"
    bad_key.write_text("-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n")
    open_key = room.path / "open.key"
    open_key.write_bytes(Path(good.key).read_bytes())
    open_key.chmod(0o644)
    bad_key.chmod(0o600)
    folder = room.path / "folder"
    folder.mkdir()
    ca, certificate, key = good.ca, good.certificate, good.key
    cases = [
        ((room.path / "no.pem", certificate, key), "no.pem` cannot be read: No such file"),
        ((folder, certificate, key), "is a folder without a certificate"),
        ((junk, certificate, key), "junk.pem` holds a certificate that cannot be read"),
        ((empty, certificate, key), "empty.pem` is empty"),
        ((key, certificate, key), "client.key` holds no certificate in PEM"),
        ((others.ca, certificate, key), "client.pem` is not signed by an authority of `ca`"),
        ((ca, folder, key), "folder` is not a regular file"),
        ((ca, junk, key), "junk.pem` holds a certificate that cannot be read"),
        ((ca, certificate, others.key), "client.key` is not the key of the certificate"),
        ((ca, certificate, certificate), "can be read by others (mode 0644)"),
        ((ca, certificate, open_key), "open.key` can be read by others (mode 0644)"),
        ((ca, certificate, bad_key), "bad.key` holds a private key that cannot be read"),
    ]
    if shutil.which("openssl"):
        late, key_of_late = expired(room)
        cases.append(((ca, late, key_of_late), "late.pem` has expired"))
        old = room.path / "old.pem"
        again = ["openssl", "x509", "-in", str(ca), "-signkey", str(room.path / "keys/ca.key")]
        again += ["-days", "-1", "-out", str(old)]
        subprocess.run(again, check=True, capture_output=True, timeout=LIMIT)
        cases.append(((old, certificate, key), "old.pem` has the authority that signed"))
    for given, words in cases:
        with pytest.raises(callsign.SettingsError) as caught:
            callsign.connect("/unix/@never", tls=callsign.Tls(*given))
        assert words in str(caught.value)


def test_a_fault_of_the_settings_is_told_as_the_commands_tell_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, others = authority(room), authority(room, "others")
    wrong = [
        callsign.Tls(good.ca, good.certificate, room.path / "no.key"),
        callsign.Tls(good.ca, good.certificate, others.key),
        callsign.Tls(others.ca, good.certificate, good.key),
    ]
    if shutil.which("openssl"):
        wrong.append(callsign.Tls(good.ca, *expired(room)))
    for tls in wrong:
        config = settings(room, tls)
        monkeypatch.setenv("CALLSIGN_CONFIG", config)
        monkeypatch.setenv("CALLSIGN_REGISTRAR", "/ip4/127.0.0.1/tcp/9/tls")
        with pytest.raises(callsign.SettingsError) as caught:
            callsign.connect()
        checked = subprocess.run(
            [binary(), "check", config], env=room.environment, capture_output=True, text=True
        )
        assert checked.returncode == 2
        # What is wrong is said in the same words; an escape of a path differs.
        assert str(caught.value).rsplit("` ", 1)[-1] in checked.stdout


async def test_certificates_are_rotated_without_a_connection_lost(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    authority(room)
    keys(room, "init", "later")
    keys(room, "issue", "later", "client")
    node = node_at(room)
    used = room.path / "used"
    shutil.copytree(room.path / "keys", used)
    tls = callsign.Tls(used / "ca.pem", used / "client.pem", used / "client.key")

    def put(name: str, text: str) -> None:
        (used / "new").write_text(text)
        (used / "new").chmod(0o600)
        (used / "new").rename(used / name)

    async with callsign.connect(node.endpoint, tls=tls) as client:
        credentials = client.hub.credentials
        assert credentials is not None
        before = credentials.dialing
        put("client.pem", "not a certificate")
        with anyio.fail_after(LIMIT):
            while not caplog.records or "stays in use" not in caplog.text:
                assert credentials.dialing is before
                await anyio.sleep(0.05)
        assert "client.pem` holds no certificate in PEM" in caplog.text
        caplog.clear()
        put("client.pem", (room.path / "keys/client.pem").read_text())
        with anyio.fail_after(LIMIT):
            while credentials.dialing is before:
                await anyio.sleep(0.05)
        assert (await client.query("feed")).records == ()
        node.restart()
        with anyio.fail_after(LIMIT):
            await client.hub.links[0].up(1)
        assert (await client.query("feed")).records == ()


# Actors.


async def test_what_cannot_speak_tls_is_refused(room: Room) -> None:
    client_files = authority(room)
    async with callsign.open("/unix/@never", tls=client_files) as client:
        with socket.socket(socket.AF_UNIX) as unix:
            with pytest.raises(callsign.InvalidArgument, match="TLS is for TCP"):
                client.tls_listener(unix)
        listener: Any = "127.0.0.1:80"
        with pytest.raises(callsign.InvalidArgument, match="come by a socket, not by"):
            client.tls_listener(listener)
    async with callsign.open("/unix/@never") as client:
        with socket.socket() as tcp, pytest.raises(callsign.TlsError, match="has none") as caught:
            client.tls_listener(tcp)
    assert "callsign keys" in caught.value.__notes__[0]


@asynccontextmanager
async def clock(room: Room, client: callsign.Client) -> AsyncIterator[callsign.Registered]:
    """An actor over TLS that proves who it is."""
    listener = client.tls_listener(socket.create_server(("127.0.0.1", 0)))
    async with (
        listener,
        anyio.create_task_group() as tasks,
        client.register("clock", listener, proves=True) as registered,
    ):
        tasks.start_soon(registered.serve, listener, greet)
        yield registered
        tasks.cancel_scope.cancel()


async def test_an_actor_proves_itself_over_tls(room: Room) -> None:
    client_files = authority(room)
    node = node_at(room)
    server = files(room, "keys", "node")
    with anyio.fail_after(LIMIT):
        async with (
            callsign.connect(node.endpoint, tls=server) as actors,
            callsign.connect(node.endpoint, tls=client_files) as client,
            clock(room, actors) as registered,
        ):
            assert str(registered.endpoints[0].endpoint).endswith("/tls")
            async with await client.find("clock") as found:
                assert found.assurance is callsign.Assurance.PROVED
                assert str(found.endpoint).endswith("/tls")
                assert await found.receive() == b"hello"
                with pytest.raises(NotImplementedError):
                    await found.send_eof()
            # The command is another implementation of the same proof.
            config = settings(room, client_files)
            said = await node.run("--config", config, "connect", "clock", "--verbose")
            assert "hello" in said
            explained = await node.run("--config", config, "resolve", "clock", "--explain")
            assert "proves who it is" in explained


async def test_a_relay_with_a_trusted_certificate_gets_no_byte(room: Room) -> None:
    client_files = authority(room)
    node = node_at(room)
    server = files(room, "keys", "node")
    passed: list[bytes] = []

    async def relay(near: anyio.abc.ByteStream) -> None:
        async with near:
            first = await near.receive()
            passed.append(first)
            far = await anyio.connect_tcp("127.0.0.1", behind, tls=True, ssl_context=context)
            async with far:
                await far.send(first)
                await near.send(await far.receive())
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    passed.append(await near.receive())

    with anyio.fail_after(LIMIT):
        async with (
            callsign.connect(node.endpoint, tls=server) as actors,
            callsign.connect(node.endpoint, tls=client_files, patience=0.0) as client,
        ):
            credentials = actors.hub.credentials
            assert credentials is not None
            context = ssl.create_default_context(cafile=str(server.ca))
            context.load_cert_chain(server.certificate, server.key)
            inner = socket.create_server(("127.0.0.1", 0))
            behind = inner.getsockname()[1]
            between = actors.tls_listener(socket.create_server(("127.0.0.1", 0)))
            listener = actors.tls_listener(inner)
            async with (
                between,
                listener,
                anyio.create_task_group() as tasks,
                # It is registered where the relay listens, which passes on what it hears.
                actors.register("clock", between, proves=True) as registered,
            ):
                tasks.start_soon(registered.serve, listener, greet)
                tasks.start_soon(between.serve, relay)
                with pytest.raises(callsign.NoneAnswered, match="cannot prove it"):
                    await client.find("clock")
                assert len(passed) == 1
                assert passed[0].startswith(b"\xc5SGN")
                tasks.cancel_scope.cancel()


async def test_a_caller_of_another_tls_is_not_answered(room: Room) -> None:
    """Whoever wraps an actor's socket by itself would prove what can be passed on."""
    authority(room)
    server = files(room, "keys", "node")
    node = node_at(room)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    listener = await listen_plainly(PLAIN)
    place = f"/ip4/127.0.0.1/tcp/{listener.sock.getsockname()[1]}/tls"
    failures: list[BaseException] = []

    with anyio.fail_after(LIMIT):
        async with (
            callsign.connect(node.endpoint, tls=server) as client,
            listener,
            anyio.create_task_group() as tasks,
            client.register("clock", place, proves=True) as registered,
        ):

            async def answer(stream: anyio.abc.ByteStream) -> None:
                tls = await TLSStream.wrap(stream, ssl_context=context)
                async with tls:
                    try:
                        await registered.accept(tls)
                    except callsign.HandshakeError as error:
                        failures.append(error)

            tasks.start_soon(listener.serve, answer)
            with pytest.raises(callsign.NoneAnswered):
                await client.find("clock")
            tasks.cancel_scope.cancel()
    assert "only if `Client.tls_listener` has accepted it" in str(failures[0])


async def test_a_web_server_over_tls_is_reached_unproved(room: Room) -> None:
    client_files = authority(room)
    node = node_at(room)
    server = files(room, "keys", "node")

    async def answer(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.0 200 OK\r\n\r\n")

    with anyio.fail_after(LIMIT):
        async with callsign.connect(node.endpoint, tls=server) as actors:
            listener = actors.tls_listener(socket.create_server(("127.0.0.1", 0)))
            async with (
                listener,
                anyio.create_task_group() as tasks,
                actors.register("web", listener),
                callsign.connect(node.endpoint, tls=client_files) as client,
            ):
                tasks.start_soon(listener.serve, answer)
                async with await client.find("web") as web:
                    assert web.assurance is callsign.Assurance.UNPROVED
                    await web.send(b"HEAD / HTTP/1.0\r\n\r\n")
                    assert (await web.receive()).startswith(b"HTTP/1.0 200")
                    with pytest.raises(anyio.EndOfStream):
                        await web.receive()
                tasks.cancel_scope.cancel()


async def test_half_open_handshakes_are_in_nobodys_way(room: Room) -> None:
    client_files = authority(room)
    node = node_at(room)
    server = files(room, "keys", "node")
    with anyio.fail_after(LIMIT):
        async with (
            callsign.connect(node.endpoint, tls=server) as actors,
            callsign.connect(node.endpoint, tls=client_files) as client,
            clock(room, actors) as registered,
        ):
            place = registered.endpoints[0].endpoint
            assert isinstance(place, callsign.Tcp)
            mute = [socket.create_connection(("127.0.0.1", place.port)) for _ in range(50)]
            mute[0].sendall(b"GET / HTTP/1.0\r\n\r\n")
            async with await client.find("clock") as found:
                assert await found.receive() == b"hello"
            for sock in mute:
                sock.close()


async def test_much_is_sent_over_tls_and_a_cut_send_is_final(room: Room) -> None:
    client_files = authority(room)
    node = node_at(room)
    server = files(room, "keys", "node")
    much = bytes(range(256)) * 40_000
    heard = bytearray()
    done, hold = anyio.Event(), anyio.Event()

    async def hear(stream: anyio.abc.ByteStream) -> None:
        try:
            async for part in stream:
                heard.extend(part)
                if len(heard) == len(much):
                    done.set()
                    await hold.wait()
        except anyio.BrokenResourceError:
            pass

    with anyio.fail_after(LIMIT):
        async with callsign.connect(node.endpoint, tls=server) as actors:
            listener = actors.tls_listener(socket.create_server(("127.0.0.1", 0)))
            async with (
                listener,
                anyio.create_task_group() as tasks,
                actors.register("ear", listener, proves=True) as registered,
                callsign.connect(node.endpoint, tls=client_files) as client,
            ):
                tasks.start_soon(registered.serve, listener, hear)
                async with await client.find("ear") as ear:
                    await ear.send(much)
                    await done.wait()
                    assert heard == much
                    with anyio.move_on_after(0.2) as scope:
                        while True:
                            await ear.send(much)
                    assert scope.cancelled_caught
                    with pytest.raises(anyio.BrokenResourceError):
                        await ear.send(b"more")
                hold.set()
                tasks.cancel_scope.cancel()


async def test_handshakes_take_turns_and_each_end_knows_its_binding(room: Room) -> None:
    authority(room)
    credentials = Credentials(files(room, "keys", "node"))
    ends: list[tuple[TlsSocket, TlsSocket]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(3):
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
            for sock in (near, far):
                sock.setblocking(False)
            pair = wrap(near, credentials.dialing, "127.0.0.1"), wrap(far, credentials.accepting)
            ends.append(pair)
    with anyio.fail_after(LIMIT):
        for near, far in ends:
            with suppress(ssl.SSLWantReadError):
                near.do_handshake()
            # It answers, and waits for the rest, which does not come in time.
            with anyio.move_on_after(0.1) as scope:
                await shake_hands(far, credentials.keylog)
            assert scope.cancelled_caught
        async with anyio.create_task_group() as tasks:
            for end in (*ends[0], *ends[1], *ends[2]):
                tasks.start_soon(shake_hands, end, credentials.keylog)
    bindings = [near.binding for near, _ in ends]
    assert bindings == [far.binding for _, far in ends]
    assert None not in bindings
    assert len(set(bindings)) == 3
    for end in (*ends[0], *ends[1], *ends[2]):
        end.close()


def test_the_proof_over_tls_is_the_documented_one() -> None:
    # Those of the Rust implementation's test.
    registrar, nonce = UUID(int=9), UUID(int=5)
    secret = bytes([7]) * 32
    text = b"callsign: proof key" + UUID(int=1).bytes + (41).to_bytes(8, "big")
    key = Key(registrar, 41, hmac.new(secret, text, hashlib.sha256).digest())
    feed, challenge = callsign.Instance("feed", UUID(int=1)), Challenge(registrar, 41, nonce)
    assert key.prove(feed, challenge, None).hex() == "b571df680678d848116a702941556db8"
    over_tls = key.prove(feed, challenge, bytes([3]) * 32)
    assert over_tls.hex() == "7f3b249a2a9dd11503bcfa2988f22f58"


def test_the_log_of_keys_is_wiped_and_tells_one_connection(room: Room) -> None:
    log = binding.KeyLog()
    assert log.take() is None
    path = Path(f"/proc/self/fd/{log._file}")
    line = f"EXPORTER_SECRET {'00' * 32} {'ab' * 48}\n"
    with path.open("a") as file:
        file.write(f"# a comment\nCLIENT_TRAFFIC_SECRET_0 {'00' * 32} {'cd' * 48}\n{line}")
    assert log.take() == bytes.fromhex("ab" * 48)
    assert log.take() is None
    assert path.stat().st_size == 0
    with path.open("a") as file:
        file.write(line * 2)
    assert log.take() is None, "whose is it?"
