"""An actor as a tractor program is one, by what goes over its connections.

It knows MessagePack and nothing of callsign. It asks whether the registrar is one, listens,
registers, and then does what it reads, a line each, and prints the answer as a line of JSON.

    tractor.py REGISTRAR NAME TRANSPORT FOLDER

REGISTRAR is a path or a port, TRANSPORT is `tcp` or `unix`.
"""

import json
import os
import socket
import struct
import sys
import threading
import uuid

import msgpack


def send(peer, message):
    body = msgpack.packb(message)
    peer.sendall(struct.pack("<I", len(body)) + body)


def exactly(peer, count):
    data = b""
    while len(data) < count:
        more = peer.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def receive(peer):
    (length,) = struct.unpack("<I", exactly(peer, 4))
    return msgpack.unpackb(exactly(peer, length))


def aid(is_probe=False):
    return {
        "msg_type": "Aid",
        "name": NAME,
        "uuid": UUID,
        "pid": os.getpid(),
        "is_registrar": None if is_probe else False,
        "is_probe": is_probe,
    }


def dial():
    if REGISTRAR.isdigit():
        return socket.create_connection(("127.0.0.1", int(REGISTRAR)))
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(REGISTRAR)
    return peer


def call(func, **kwargs):
    """Calls the registrar over a connection of its own, as every step of the original does."""
    with dial() as peer:
        send(peer, aid())
        receive(peer)
        cid = str(uuid.uuid4())
        send(
            peer,
            {
                "msg_type": "Start",
                "cid": cid,
                "ns": "self",
                "func": func,
                "kwargs": kwargs,
                "uid": [NAME, UUID],
                "pld_spec": "typing.Any",
            },
        )
        while True:
            message = receive(peer)
            assert message["cid"] == cid, message
            if message["msg_type"] == "Error":
                return {"error": message["src_type_str"]}
            if message["msg_type"] != "StartAck":
                return message["pld"]


def serve(peer):
    """Says who it is, and answers `hello`."""
    try:
        send(peer, aid())
        if receive(peer)["is_probe"]:
            return
        while True:
            start = receive(peer)
            ack = {"msg_type": "StartAck", "cid": start["cid"], "functype": "asyncfunc"}
            send(peer, ack)
            text = f"hello {start['kwargs']['name']}, this is {NAME}"
            send(peer, {"msg_type": "Return", "cid": start["cid"], "pld": text})
    except (EOFError, OSError):
        pass
    finally:
        peer.close()


def accept(listener):
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=serve, args=[peer], daemon=True).start()


def main():
    with dial() as peer:
        send(peer, aid(is_probe=True))
        assert receive(peer)["is_registrar"] is True

    if TRANSPORT == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
        addr = list(listener.getsockname())
    else:
        addr = [FOLDER, f"{NAME}@{os.getpid()}.sock"]
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(*addr))
        listener.listen()
    threading.Thread(target=accept, args=[listener], daemon=True).start()

    call("register_actor", uid=[NAME, UUID], addr=addr)
    print(json.dumps(addr), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["find", name]:
                answer = call("find_actor", name=name)
            case ["wait", name]:
                answer = call("wait_for_actor", name=name)
            case ["delete", addr]:
                answer = call("delete_addr", addr=json.loads(addr))
            case ["registry"]:
                answer = call("get_registry")
            case ["cancel"]:
                answer = call("cancel")
            case ["register"]:
                answer = call("register_actor", uid=[NAME, UUID], addr=addr)
            case ["unregister"]:
                answer = call("unregister_actor", uid=[NAME, UUID])
        print(json.dumps(answer), flush=True)


REGISTRAR, NAME, TRANSPORT, FOLDER = sys.argv[1:]
UUID = str(uuid.uuid4())
main()
