"""Endpoints and names: what is read, and what is refused with the words of the commands."""

from __future__ import annotations

import pytest
from conftest import Node

import callsign
from callsign.names import check_name, check_pattern


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("/unix/run/feed.sock", None),
        ("/unix/%2Frun%2Ffeed.sock", "/unix/run/feed.sock"),
        ("/unix/%2frun%2ffeed%20a.sock", "/unix/run/feed%20a.sock"),
        ("/unix/@feed", None),
        ("/unix/%40feed", "/unix/@feed"),
        ("/unix/@padded%00%00", None),
        ("/unix/@a/b", None),
        ("/unix/run/@feed", None),
        ("/unix/%2F@feed", None),
        ("/unix/run/größe", None),
        ("/unix/run/a%25b", None),
        ("/ip4/127.0.0.1/tcp/5555", None),
        ("/ip4/127.0.0.1/tcp/05555", "/ip4/127.0.0.1/tcp/5555"),
        ("/ip6/::1/tcp/80/tls", None),
        ("/ip6/0:0:0:0:0:0:0:1/tcp/80", "/ip6/::1/tcp/80"),
        ("/ip6/::ffff:10.0.0.1/tcp/80", None),
        ("/ip6zone/eth0/ip6/fe80::1/tcp/80", None),
        ("/dns/Market.example/tcp/1", "/dns/market.example/tcp/1"),
        ("/dns4/localhost/tcp/1", None),
        ("/dns6/a_b.example./tcp/1", None),
        ("/memory/7", None),
    ],
)
def test_endpoints_are_read_and_written(text: str, written: str | None) -> None:
    read = callsign.endpoint(text)
    assert str(read) == (written or text)
    assert callsign.endpoint(str(read)) == read


BAD = [
    "",
    "feed",
    "127.0.0.1:80",
    "/",
    "/uds/run/feed.sock",
    "/ip4/127.0.0.1/udp/9999",
    "/ip4/127.0.0.1",
    "/ip4/127.0.0.1/tcp",
    "/ip4/127.0.0.1/tcp/",
    "/ip4/127.0.0.1/tcp/65536",
    "/ip4/127.0.0.1/tcp/+80",
    "/ip4/127.0.0.1/tcp/80/",
    "/ip4/127.0.0.1/tcp/80/http",
    "/ip4/127.0.0.1/tcp/80/tls/tcp/81",
    "/ip4/127.0.0.1/tcp/80/tls/ws",
    "/ip4/127.0.0.01/tcp/80",
    "/ip4/256.0.0.1/tcp/80",
    "/ip6/fe80::1%eth0/tcp/80",
    "/ip6/::g/tcp/80",
    "/ip6zone/eth0/tcp/80",
    "/ip6zone/an-interface-of-no-host/ip6/::1/tcp/80",
    "/tcp/80",
    "/tls",
    "/dns/a..b/tcp/80",
    "/dns/-a/tcp/80",
    "/dns/10.0.0/tcp/80",
    "/dns/" + "a" * 64 + "/tcp/80",
    "/dns/münchen.example/tcp/80",
    "/unix",
    "/unix/",
    "/unix/@",
    "/unix/run/",
    "/unix/run/../feed.sock",
    "/unix/run//feed.sock",
    "/unix/%2Frun%2Ffeed.sock/more",
    "/unix/run%2Ffeed.sock",
    "/unix/a%00b",
    "/unix/%ff",
    "/unix/@" + "a" * 108,
    "/unix/" + "d/" * 60 + "n" * 90,
    "/unix/" + "d/" * 2100 + "n",
    "/unix/run/feed ",
    "/memory/x",
    "/memory/18446744073709551616",
    "/memory/7/tcp/80",
    "/\x1b[2J",
    "/p2p/Qm",
    "/ip4/10.0.0.1/tcp/80|/ip4/10.0.0.2/tcp/80",
]

#: What is written instead of an endpoint, and can be guessed from.
SLIPS = [
    "127.0.0.1:80",
    "localhost:80",
    "[::1]:80",
    "[fe80::1%eth0]:80",
    "tcp://h:80",
    "http://h:80/x",
    "https://h:80",
    "tcp:h:80",
    ":80",
    "80",
    "127.0.0.1:99999",
    "300.1.1.1:80",
    "unix:/run/x",
    "unix:///run/x",
    "unix:@x",
    "unix:x",
    "@feed",
    "feed.sock",
    "run/feed.sock",
    "./feed.sock",
    "/run/feed.sock",
    "/@feed",
    "/foo/bar",
    "/tcp/80",
    "/127.0.0.1:80",
    "/127.0.0.1/tcp/80",
    "/localhost/tcp/80",
    "/ip4/127.0.0.1/80",
    "/ip4/127.0.0.1:80",
    "/ip4/localhost/tcp/80",
    "/ip4/::1/tcp/80",
    "/ip6/fe80::1%eth0/tcp/80",
    "/dns/10.0.0.1/tcp/80",
    "/ip4/127.0.0.1/tcp/x",
    "{}",
]

NAMES = ["", "two words", "-x", "a/b", "..", "a*b", "x\u200b", "\u0301x", "Bo\u0308rse", "é" * 128]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_is_refused_is_refused_in_the_words_of_the_commands(node: Node) -> None:
    expected = []
    for text in BAD:
        with pytest.raises(callsign.EndpointError) as refused:
            callsign.endpoint(text)
        expected.append(f"error: {refused.value}")
    # All faults are told at once.
    flags = (word for text in BAD for word in ("--registrar", text))
    said = await node.run(*flags, "status", check=False)
    assert [it for it in said.splitlines() if it.startswith("error: ")] == expected
    for text in NAMES:
        with pytest.raises(callsign.InvalidName) as wrong:
            check_name(text)
        if "*" not in text:  # the command says that a name is needed, not a pattern
            said = await node.run("find", "--", text, check=False)
            assert said.splitlines()[0].startswith(f"error: {wrong.value}"), said
            assert wrong.value.__notes__[0] in said


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_was_meant_is_guessed_as_the_commands_do(node: Node) -> None:
    flags = (word for text in SLIPS for word in ("--registrar", text))
    said = await node.run(*flags, "status", check=False)
    for text, says in zip(SLIPS, said.split("error: ")[1:], strict=True):
        with pytest.raises(callsign.EndpointError) as refused:
            callsign.endpoint(text)
        _, _, help = says.partition("= help: ")
        assert refused.value.help == " ".join(help.split()), text
        assert refused.value.__notes__ == [f"hint: {refused.value.help}"]


@pytest.mark.parametrize(
    "text, help",
    [
        ("10.0.0.1", "add a port: `/ip4/10.0.0.1/tcp/5555`"),
        ("::1", "add a port: `/ip6/::1/tcp/5555`"),
        ("/ip4/10.0.0.1", "add a port: `/ip4/10.0.0.1/tcp/5555`"),
        ("/ip6/::1", "add a port: `/ip6/::1/tcp/5555`"),
        ("/dns/h/tls", "add a port: `/dns/h/tcp/5555/tls`"),
    ],
)
def test_a_port_that_is_missing_is_asked_for(text: str, help: str) -> None:
    with pytest.raises(callsign.EndpointError) as refused:
        callsign.endpoint(text)
    assert refused.value.help == help


def test_patterns_are_names_with_wild_cards() -> None:
    assert check_pattern("feed.*") == "feed.*"
    assert check_pattern("fee?") == "fee?"
    with pytest.raises(callsign.InvalidName):
        check_pattern("a/b")


def test_names_are_told_from_others() -> None:
    for name in ["feed", "Börse", "東京", "a.b-c_d", "x" * 255, "नमस्ते"]:
        assert check_name(name) == name
