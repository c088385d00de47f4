"""The registrars that the environment names: the same as those that the commands ask."""

from __future__ import annotations

import codecs
import os
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import Room, binary

import callsign

pytestmark = pytest.mark.anyio

LOOPBACK = "/ip4/127.0.0.1/tcp/1616"


@pytest.fixture(autouse=True)
def bare_environment(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CALLSIGN_REGISTRAR", "CALLSIGN_CONFIG", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    for name, value in room.environment.items():
        monkeypatch.setenv(name, value)


async def test_the_environment_names_the_registrars(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    (room.path / "callsign").mkdir(mode=0o700)
    usual = room.node(room.unix("callsign/registrar.sock"))
    async with callsign.connect() as client:
        assert str(client.registrars[0]) == usual.endpoint
        assert (await client.query("feed")).complete().records == ()
    named = room.node()
    monkeypatch.setenv("CALLSIGN_REGISTRAR", f" {named.endpoint},  {usual.endpoint} ")
    async with callsign.connect() as client:
        assert [str(it) for it in client.registrars] == [named.endpoint, usual.endpoint]
    monkeypatch.setenv("CALLSIGN_REGISTRAR", "")
    settings = room.path / "market.toml"
    settings.write_text(f'[registrar]\nlisten = ["{named.endpoint}", ["0.0.0.0", 7616]]\n')
    monkeypatch.setenv("CALLSIGN_CONFIG", str(settings))
    async with callsign.connect() as client:
        assert [str(it) for it in client.registrars] == [
            named.endpoint,
            "/ip4/127.0.0.1/tcp/7616",
        ]
        assert (await client.query("feed")).complete().records == ()
    monkeypatch.setenv("CALLSIGN_REGISTRAR", "feed")
    with pytest.raises(callsign.SettingsError, match="no `/` at the beginning of `feed`"):
        callsign.connect()


async def test_without_a_registrar_a_hint_says_how_to_start_one(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callsign.environment, "DEFAULT_PORT", 1)  # at which nobody listens
    with pytest.raises(callsign.Unreachable) as caught:
        async with callsign.connect():
            pass
    assert caught.value.__notes__[0] == "hint: start one here: `callsign registrar`"
    with pytest.raises(callsign.Unreachable) as caught:
        async with callsign.connect(room.unix("none")):
            pass
    here = f"hint: start one here: `callsign registrar --listen {room.unix('none')}`"
    assert caught.value.__notes__ == [here]
    with pytest.raises(callsign.Unreachable) as caught:
        async with callsign.connect(room.unix("none"), room.unix("neither")):
            pass
    assert not hasattr(caught.value, "__notes__")


def places() -> list[str]:
    return [str(it) for it in callsign.open().registrars]


def said_by_the_command() -> str:
    """Returns what a command says with the same environment."""
    ended = subprocess.run([binary(), "ls"], capture_output=True, text=True, check=False)
    return ended.stderr.replace(" (os error 2)", "").replace(" (os error 20)", "")


async def test_a_folder_for_sockets_is_the_one_of_the_commands(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, user = str(room.path), os.geteuid()
    for elsewhere in ("TEMP", "TMP"):
        monkeypatch.setenv(elsewhere, "/var/tmp")
    (room.path / "other").mkdir()
    for xdg, tmp, expected in [
        (own, "/nonexistent", f"/unix{own}/callsign/registrar.sock"),
        ("", own, f"/unix{own}/callsign-{user}/registrar.sock"),
        ("relative", f"{own}/other", f"/unix{own}/other/callsign-{user}/registrar.sock"),
    ]:
        monkeypatch.setenv("XDG_RUNTIME_DIR", xdg)
        monkeypatch.setenv("TMPDIR", tmp)
        assert places() == [expected, LOOPBACK]
        assert "own registrar is not asked" not in said_by_the_command()
    # Without a word, it is the system's; no other variable and no trial of a file decides.
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("TMPDIR")
    assert places() == [f"/unix/tmp/callsign-{user}/registrar.sock", LOOPBACK]


async def test_what_root_starts_without_a_session_is_for_the_whole_system(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, user = str(room.path), os.geteuid()
    (room.path / "system").mkdir()
    system = f"/unix{own}/system/registrar.sock"
    monkeypatch.setenv("CALLSIGN_SYSTEM_DIR", f"{own}/system")
    monkeypatch.setenv("TMPDIR", own)
    of_tmp = f"/unix{own}/callsign-{user}/registrar.sock"
    for xdg, expected in [
        (own, [f"/unix{own}/callsign/registrar.sock", system]),
        ("relative", [of_tmp, system]),
        ("", [system] if user == 0 else [of_tmp, system]),
        (None, [system] if user == 0 else [of_tmp, system]),
    ]:
        if xdg is None:
            monkeypatch.delenv("XDG_RUNTIME_DIR")
        else:
            monkeypatch.setenv("XDG_RUNTIME_DIR", xdg)
        assert places() == [*expected, LOOPBACK]
        said = said_by_the_command()
        # A registrar of this machine at the port may answer.
        assert said == "" or all(f"{it}: " in said for it in expected)
        assert (of_tmp in said) <= (of_tmp in expected)
    # Without the system's folder, it asks its own.
    monkeypatch.setenv("CALLSIGN_SYSTEM_DIR", f"{own}/nothing")
    assert places() == [of_tmp, f"/unix{own}/nothing/registrar.sock", LOOPBACK]


async def test_without_such_a_folder_the_other_places_are_asked(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (room.path / "file").touch()
    (room.path / "open" / "callsign").mkdir(parents=True)
    (room.path / "open" / "callsign").chmod(0o750)
    (room.path / "link").mkdir()
    (room.path / "link" / "callsign").symlink_to("/tmp")
    (room.path / "occupied").mkdir()
    (room.path / "occupied" / "callsign").touch()
    (room.path / "theirs").mkdir()
    cases = [
        ("/nonexistent", "", "XDG_RUNTIME_DIR is `/nonexistent`, which cannot be used: unset it"),
        (f"{room.path}/file", "", "callsign` cannot be used; set XDG_RUNTIME_DIR to a folder"),
        (f"{room.path}/open", "", "is open to other users (mode 0750): give it mode 0700"),
        (f"{room.path}/link", "", "is a symbolic link, and may lead anywhere: set XDG_RUNTIME_DIR"),
        (f"{room.path}/occupied", "", "is not a folder: set XDG_RUNTIME_DIR"),
        ("", "/nonexistent", "`/nonexistent/callsign-"),
    ]
    if os.geteuid() == 0:
        os.chown(room.path / "theirs", 4711, 4711)
        cases += [
            (f"{room.path}/theirs", "", "which belongs to user 4711, and this is user 0"),
            ("", f"{room.path}/theirs", "TMPDIR is `"),
        ]
    for xdg, tmp, words in cases:
        monkeypatch.setenv("XDG_RUNTIME_DIR", xdg)
        monkeypatch.setenv("TMPDIR", tmp)
        assert places() == [LOOPBACK], xdg
        (warning,) = caplog.messages
        assert words in warning
        assert warning in said_by_the_command()
        caplog.clear()


async def test_a_settings_file_is_read_as_by_the_commands(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A port that nobody listens at.
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    text = f'[registrar]\nlisten = ["{room.unix("r.sock")}", ["127.0.0.1", {port}]]\n# é\n'
    settings = room.path / "market.toml"
    monkeypatch.setenv("CALLSIGN_CONFIG", str(settings))
    monkeypatch.setenv("LC_ALL", "C")
    for mark in (b"", codecs.BOM_UTF8):
        settings.write_bytes(mark + text.encode())
        assert places() == [room.unix("r.sock"), f"/ip4/127.0.0.1/tcp/{port}"]
        said = said_by_the_command()
        assert all(f"{it}: " in said for it in places())
    taken.close()
    monkeypatch.setenv("CALLSIGN_CONFIG", "/dev/null")
    assert places()[-1] == LOOPBACK


async def test_a_settings_file_that_cannot_be_read_is_refused_as_by_the_commands(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(name: str) -> Path:
        return room.path / name

    at("binary").write_bytes(b"\xff")
    at("latin").write_bytes("# é\n".encode("latin-1"))
    at("wide").write_bytes("[registrar]".encode("utf-16"))
    at("long").write_bytes(b"#" * (4 << 20) + b"\n")
    at("folder").mkdir()
    os.mkfifo(at("pipe"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(at("socket")))
        for path, why in [
            (at("binary"), "it is not text in UTF-8"),
            (at("latin"), "it is not text in UTF-8"),
            (at("wide"), "it is not text in UTF-8"),
            (at("long"), "it is larger than 4 MiB, the most that settings may have"),
            (at("folder"), "it is a folder"),
            (at("pipe"), "it is a pipe, which is not read twice"),
            (at("socket"), "it is a socket"),
            (Path("/dev/zero"), "it is a device"),
            (at("nothing"), "No such file or directory"),
        ]:
            monkeypatch.setenv("CALLSIGN_CONFIG", str(path))
            what = f"cannot read the settings file `{path}`, which CALLSIGN_CONFIG names"
            with pytest.raises(callsign.SettingsError) as refused:
                callsign.connect()
            assert str(refused.value) == f"{what}: {why}"
            assert f"error: {what}\n  because: {why}\n" in said_by_the_command()
