"""Writing the messages of the protocol."""

from __future__ import annotations

from typing import Any

from .locality import Stamped
from .messages import Hello, Instance


def write_hello(hello: Hello) -> dict[str, Any]:
    fields: dict[str, Any] = {"agent": hello.agent}
    if hello.instance is not None:
        fields["instance"] = write_instance(hello.instance)
    if hello.wanted is not None:
        wanted: dict[str, Any] = {"instance": write_instance(hello.wanted)}
        if hello.challenge is not None:
            wanted["challenge"] = {
                "registrar": hello.challenge.registrar.bytes,
                "epoch": hello.challenge.epoch,
                "nonce": hello.challenge.nonce.bytes,
            }
        fields["wanted"] = wanted
    if hello.proof is not None:
        fields["proof"] = hello.proof
    return fields


def write_instance(instance: Instance) -> dict[str, Any]:
    return {"name": instance.name, "uuid": instance.uuid.bytes}


def write_stamped(stamped: Stamped) -> dict[str, Any]:
    stamp, fields = stamped.stamp, {}
    for name in ("kernel", "netns", "process", "root", "user"):
        if (value := getattr(stamp, name)) is not None:
            fields[name] = value
    if stamp.socket is not None:
        socket = {"dev": stamp.socket.dev, "ino": stamp.socket.ino}
        if stamp.socket.born_ns is not None:
            socket["born_ns"] = stamp.socket.born_ns
        fields["socket"] = socket
    written: dict[str, Any] = {"endpoint": str(stamped.endpoint)}
    if fields:
        written["stamp"] = fields
    return written
