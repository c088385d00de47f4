"""Names as hosts of URLs."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from yarl import URL

import callsign


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("feed", "feed"),
        ("feed.eurusd", "feed.eurusd"),
        ("~x_y-z", "~x_y-z"),
        ("Market:feed", "=4darket=3afeed"),
        ("größe", "gr=c3=b6=c3=9fe"),
        ("a=3ab", "a=3d3ab"),
        ("user@host#1", "user=40host=231"),
        ("worker.1", "worker.=31"),
        ("worker-1", "worker-1"),
        ("7", "=37"),
        ("10.0.0.12", "10.0.0.=312"),
        ("a.0x7f", "a.=30x7f"),
        ("a.0xyz", "a.0xyz"),
        ("1.", "=31."),
        (".x", ".x"),
    ],
)
def test_every_name_is_a_host_and_comes_back(name: str, host: str) -> None:
    assert callsign.host(name) == host
    for read in (URL(f"http://{host}/").host, urlsplit(f"http://{host}/").hostname):
        assert callsign.name_of(read) == name


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (None, "names no actor"),
        ("", "names no actor"),
        ("a=", "without two hexadecimal digits"),
        ("a=3", "without two hexadecimal digits"),
        ("a=+1", "without two hexadecimal digits"),
        ("a=ff", "without two hexadecimal digits"),
        ("a=2fb", "a name cannot have"),
        ("=2d", "cannot begin with"),
    ],
)
def test_a_host_that_is_no_name_says_so(host: str | None, words: str) -> None:
    with pytest.raises(callsign.InvalidName, match=words):
        callsign.name_of(host)
