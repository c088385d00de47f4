#!/usr/bin/env python3
"""Looks up a name at a registrar. It is written from docs/wire.md alone.

python3 examples/lookup.py /unix/@market feed
"""

import socket, struct, sys

PREFACE = b"\xc5SGN\r\n" + struct.pack("<H", 1)


def pack(value):
    """Encodes what this program sends: booleans, small numbers, text, bytes, maps."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return b"\xdb" + struct.pack(">I", len(text)) + text
    return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())


def unpack(data, at=0):
    """Decodes the value at an offset, and returns it with the offset behind it."""
    mark, at = data[at], at + 1
    sized = {0xC4: "B", 0xC5: "H", 0xC6: "I", 0xD9: "B", 0xDA: "H", 0xDB: "I",
             0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xDC: "H", 0xDD: "I", 0xDE: "H", 0xDF: "I"}
    if mark < 0x80: return mark, at
    if mark in (0xC0, 0xC2, 0xC3): return {0xC0: None, 0xC2: False, 0xC3: True}[mark], at
    if mark in sized:
        number, at = struct.unpack_from(">" + sized[mark], data, at)[0], at + struct.calcsize(sized[mark])
    elif mark < 0xA0: number = mark & 0x0F
    elif mark < 0xC0: number = mark & 0x1F
    else: raise ValueError(f"the protocol has no {mark:#x}")
    if 0xCC <= mark <= 0xCF: return number, at
    if 0xC4 <= mark <= 0xC6: return data[at:at + number], at + number
    if 0xA0 <= mark < 0xC0 or 0xD9 <= mark <= 0xDB: return data[at:at + number].decode(), at + number
    is_map, items = mark < 0x90 or mark in (0xDE, 0xDF), []
    for _ in range(number * (2 if is_map else 1)):
        item, at = unpack(data, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if is_map else items), at


def dial(endpoint):
    parts = endpoint.split("/")[1:]
    if parts[0] == "unix":
        unix = socket.socket(socket.AF_UNIX)
        unix.settimeout(5)
        unix.connect("\0" + parts[1][1:] if parts[1].startswith("@") else "/" + "/".join(parts[1:]))
        return unix
    return socket.create_connection((parts[1], int(parts[3])), timeout=5)


def main(registrar, name):
    stream = dial(registrar).makefile("rwb")
    frame = lambda kind, **fields: (lambda body: struct.pack("<I", len(body)) + body)(pack({kind: fields}))
    stream.write(PREFACE + frame("hello", agent="lookup.py"))
    stream.write(frame("call", id=0, method="registrar.query", body=pack({"name": name, "all": False})))
    stream.flush()
    if stream.read(8) != PREFACE: sys.exit("no registrar of version 1")
    while True:
        (kind, fields), = unpack(stream.read(struct.unpack("<I", stream.read(4))[0]))[0].items()
        if kind == "goodbye": sys.exit(fields["reason"])
        if kind == "error": sys.exit(fields["error"]["message"])
        if kind == "return": break
    records = unpack(fields["body"])[0]["records"]
    for record in records:
        print(record["name"], record["uuid"].hex(), *(it["endpoint"] for it in record["endpoints"]))
    if not records: sys.exit(f"no actor {name} is ready")


if len(sys.argv) != 3 or not sys.argv[1].startswith("/"):
    sys.exit("usage: lookup.py REGISTRAR NAME, such as /unix/@market feed")
try:
    main(*sys.argv[1:])
except (OSError, struct.error) as error:
    sys.exit(f"no registrar answers: {error}")
