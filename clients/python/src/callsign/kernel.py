"""What the kernel says of this process's own place: statx, cookies, interfaces, users."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import hmac
import os
import secrets
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Protocol

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_STATX_INO = 0x100
_STATX_BTIME = 0x800
_STATX_MNT_ID = 0x1000
_STATX_MNT_ID_UNIQUE = 0x4000
_SO_NETNS_COOKIE = 71
_RTN_LOCAL = 2
#: The kernel's answers for an address to which nothing leads.
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ENODEV)


class Socket(Protocol):
    """A socket: Python's own, or one of asyncio, uvloop or trio."""

    @property
    def family(self) -> int: ...

    @property
    def getsockname(self) -> Callable[[], Any]: ...

    @property
    def getpeername(self) -> Callable[[], Any]: ...

    @property
    def getsockopt(self) -> Callable[..., Any]: ...


@dataclass(frozen=True, slots=True)
class SocketId:
    """A socket file: device, inode, and the time of its birth."""

    dev: int
    ino: int
    born_ns: int | None = None

    def is_same(self, other: SocketId) -> bool:
        """Tells whether both are one socket; if either lacks the time, the other two decide."""
        if self.born_ns is not None and other.born_ns is not None and self.born_ns != other.born_ns:
            return False
        return (self.dev, self.ino) == (other.dev, other.ino)


@dataclass(frozen=True, slots=True)
class Interface:
    """An address of a network interface."""

    name: str
    ip: IPv4Address | IPv6Address
    prefix_bits: int

    def reaches(self, ip: IPv4Address | IPv6Address) -> bool:
        """Tells whether it reaches an address without a router."""
        if self.ip.version != ip.version or self.prefix_bits == 0:
            return False
        shift = self.ip.max_prefixlen - self.prefix_bits
        return int(self.ip) >> shift == int(ip) >> shift


def open_path(path: str | bytes) -> int:
    """Opens a file to look at and to connect to, without following a symbolic link."""
    return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)


def socket_id(descriptor: int) -> SocketId | str:
    """Returns which socket an open file is, or what it is instead, in words."""
    status = os.fstat(descriptor)
    if not stat.S_ISSOCK(status.st_mode):
        return _kind(status.st_mode)
    found = _statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_INO | _STATX_BTIME)
    born_ns = None
    if found is not None:
        (mask,) = struct.unpack_from("=I", found, 0)
        seconds, nanoseconds = struct.unpack_from("=qI", found, 80)
        if mask & _STATX_BTIME and seconds >= 0:
            born_ns = seconds * 1_000_000_000 + nanoseconds
    return SocketId(status.st_dev, status.st_ino, born_ns)


def kernel_id() -> int | None:
    """Returns the number of the running kernel, or of the configured host."""
    return _kernel.number()


def set_host_id(host_id: str) -> bool:
    """Makes this process use a configured host id; false if it already uses another."""
    return _kernel.set(keyed(b"callsign: which host", host_id.encode()))


def netns(of: Socket | None = None) -> int | None:
    """Returns the cookie of the network namespace of a socket, or of this thread."""
    try:
        if of is not None:
            return _cookie(of)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as drawn:
            return _cookie(drawn)
    except OSError:
        return None


def _cookie(of: Socket) -> int:
    return int.from_bytes(of.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")


def root_id() -> int | None:
    """Returns a number for the root folder below which this process sees paths."""
    mask = _STATX_INO | _STATX_MNT_ID | _STATX_MNT_ID_UNIQUE
    found = _statx(_AT_FDCWD, b"/", 0, mask)
    if found is None:
        return None
    (got,) = struct.unpack_from("=I", found, 0)
    if not got & (_STATX_MNT_ID | _STATX_MNT_ID_UNIQUE) or not got & _STATX_INO:
        return None
    (inode,) = struct.unpack_from("=Q", found, 32)
    (mount,) = struct.unpack_from("=Q", found, 144)
    return keyed(b"callsign: which root", struct.pack(">QQ", mount, inode))


def process_id() -> int:
    """Returns the number that this process drew for itself; a fork draws its own."""
    return _process.number()


def keyed(key: bytes, text: bytes) -> int:
    """Returns the first eight bytes of an HMAC as a number, as stamps have it."""
    return int.from_bytes(hmac.new(key, text, hashlib.sha256).digest()[:8], "big")


def interfaces() -> tuple[Interface, ...]:
    """Returns the addresses of the network interfaces, or none where they cannot be read."""
    try:
        return tuple(_addresses())
    except OSError:
        return ()


def has_address(ip: IPv4Address | IPv6Address) -> bool:
    """Tells whether an address is one of this host, as the kernel's routes say: an interface has
    it, or a route alone makes it that (rtnetlink, RTM_GETROUTE)."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    route = struct.pack("=BBBBBBBBI", family, ip.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    destination = struct.pack("=HH", 4 + len(ip.packed), 1) + ip.packed
    request = struct.pack("=IHHII", 16 + len(route) + len(destination), 26, 1, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(5)
            kernel.sendto(request + route + destination, (0, 0))
            answer = kernel.recv(1 << 16)
        (kind,) = struct.unpack_from("=H", answer, 4)
        if kind == 24:
            return answer[23] == _RTN_LOCAL
        (error,) = struct.unpack_from("=i", answer, 16)
        if -error in _NO_ROUTE:
            return False
    except (OSError, struct.error, IndexError):
        pass
    return any(it.ip == ip for it in interfaces())


def peer_user(sock: socket.socket) -> int | None:
    """Returns the user at the other end of a Unix socket, unless the number stands for anybody."""
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return None
    user = int(struct.unpack("=iII", found)[1])
    return None if user == _overflow_user() else user


def are_users_global() -> bool:
    """Tells whether users have the same numbers here as on the whole host."""
    return _overflow_user() is None


def tcp_user(sock: socket.socket) -> int | None:
    """Returns the user of a TCP connection's other end on this host, if the kernel shows it."""
    try:
        near, far = sock.getsockname(), sock.getpeername()
        is_ipv4 = sock.family == socket.AF_INET
        wanted = (_proc_address(far, is_ipv4), _proc_address(near, is_ipv4))
        with open("/proc/self/net/tcp" if is_ipv4 else "/proc/self/net/tcp6") as table:
            next(table)
            for line in table:
                words = line.split()
                if (words[1], words[2], words[3]) == (*wanted, "01"):
                    user = int(words[7])
                    return None if user == _overflow_user() else user
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return None


def listening_users(ip: IPv4Address | IPv6Address, port: int) -> tuple[int, ...]:
    """Returns the users of the listeners that would take a connection to an address of this network
    namespace, as far as the kernel shows them: those at the very address, else at a wildcard."""
    any_ipv4, any_ipv6 = IPv4Address(0), IPv6Address(0)
    tiers: list[IPv4Address | IPv6Address] = [ip, any_ipv6]
    if ip.version == 4:
        tiers = [ip, IPv6Address(f"::ffff:{ip}"), any_ipv4, any_ipv6]
    try:
        for place in tiers:
            is_ipv4 = place.version == 4
            wanted = _proc_address((str(place).partition("%")[0], port), is_ipv4)
            with open("/proc/self/net/tcp" if is_ipv4 else "/proc/self/net/tcp6") as table:
                lines = (it.split() for it in table)
                users = tuple(int(it[7]) for it in lines if (it[1], it[3]) == (wanted, "0A"))
            if users:
                return users
    except (OSError, ValueError, IndexError):
        return ()
    return ()


def listens(inode: int) -> bool:
    """Tells whether a socket of this number listens in this network namespace, whichever process
    has it; also if the kernel does not show that."""
    tables = (("tcp", 3, 9), ("tcp6", 3, 9), ("unix", 3, 6))
    try:
        for name, state_at, inode_at in tables:
            with open(f"/proc/self/net/{name}") as table:
                next(table)
                for words in map(str.split, table):
                    if int(words[inode_at]) == inode:
                        state = int(words[state_at], 16)
                        return bool(state & _ACCEPTS) if name == "unix" else state == _LISTEN
    except (OSError, ValueError, IndexError, StopIteration):
        return True
    return False


#: `TCP_LISTEN`, and `__SO_ACCEPTCON` of a Unix socket.
_LISTEN, _ACCEPTS = 0x0A, 0x10000


def naming_users(name: bytes) -> tuple[int, ...]:
    """Returns the users of the listeners at an abstract name of this network namespace, as far as
    the kernel shows them (sock_diag)."""
    listening, show_name_and_user = 1 << 10, 0x1 | 0x40
    request = struct.pack("=IHHII", 40, 20, 0x301, 1, 0)
    request += struct.pack(
        "=BBHIIIII", socket.AF_UNIX, 0, 0, listening, 0, show_name_and_user, 0, 0
    )
    try:
        found = [_attributes(it, 16) for it in _dumped(4, request, 20)]
        users = [it[7] for it in found if it.get(0) == b"\0" + name and len(it.get(7, b"")) == 4]
        return tuple(int(struct.unpack("=I", it)[0]) for it in users)
    except (OSError, struct.error):
        return ()


def _proc_address(address: tuple[str, int], is_ipv4: bool) -> str:
    packed = socket.inet_pton(socket.AF_INET if is_ipv4 else socket.AF_INET6, address[0])
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"


def _overflow_user() -> int | None:
    """Returns the number that all unmapped users of a user namespace share, if there are any."""
    try:
        with open("/proc/self/uid_map") as table:
            mapped = sum(int(line.split()[2]) for line in table)
        if mapped >= 2**32 - 1:
            return None
        with open("/proc/sys/kernel/overflowuid") as number:
            return int(number.read())
    except (OSError, ValueError, IndexError):
        return 65534


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFREG: "a regular file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "a file of an unknown kind")


def _statx(folder: int, path: bytes, flags: int, mask: int) -> bytes | None:
    """Calls statx; `None` where the C library or the kernel has none."""
    function = _libc_statx()
    if function is None:
        return None
    buffer = ctypes.create_string_buffer(256)
    if function(folder, path, flags, mask, buffer) != 0:
        return None
    return buffer.raw


@cache
def _libc_statx() -> ctypes._NamedFuncPointer | None:
    function: ctypes._NamedFuncPointer | None = getattr(ctypes.CDLL(None), "statx", None)
    return function


class _Kernel:
    def __init__(self) -> None:
        self._number: int | None = None
        self._is_known = False

    def number(self) -> int | None:
        if not self._is_known:
            try:
                with open("/proc/sys/kernel/random/boot_id", "rb") as file:
                    boot_id = file.read().removesuffix(b"\n")
                self._number = keyed(b"callsign: which kernel", boot_id)
            except OSError:
                self._number = None
            self._is_known = True
        return self._number

    def set(self, number: int) -> bool:
        if self._is_known and self._number != number:
            return False
        self._number, self._is_known = number, True
        return True


class _Process:
    def __init__(self) -> None:
        self._drawn: tuple[int, int] | None = None

    def number(self) -> int:
        if self._drawn is None or self._drawn[0] != os.getpid():
            self._drawn = (os.getpid(), secrets.randbits(64))
        return self._drawn[1]


_kernel = _Kernel()
_process = _Process()


def _addresses() -> Iterator[Interface]:
    """Asks the kernel by rtnetlink (RTM_GETADDR)."""
    request = struct.pack("=IHHIIBBBBI", 24, 22, 0x301, 1, 0, socket.AF_UNSPEC, 0, 0, 0, 0)
    for message in _dumped(socket.NETLINK_ROUTE, request, 20):
        yield from _address(message)


def _dumped(protocol: int, request: bytes, wanted: int) -> Iterator[bytes]:
    """Asks the kernel by netlink, and returns the messages of a kind."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as kernel:
        kernel.settimeout(5)
        kernel.sendto(request, (0, 0))
        while True:
            data = kernel.recv(1 << 16)
            at = 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind in (2, 3) or length < 16:  # an error, or the end
                    return
                if kind == wanted:
                    yield data[at + 16 : at + length]
                at += (length + 3) & ~3


def _attributes(message: bytes, at: int) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            break
        values[kind] = message[at + 4 : at + length]
        at += (length + 3) & ~3
    return values


def _address(message: bytes) -> Iterator[Interface]:
    _family, prefix_bits, _flags, _scope, index = struct.unpack_from("=BBBBI", message, 0)
    values = _attributes(message, 8)
    # Of a point-to-point link, 2 is the own address, and 1 that of the other end.
    packed = values.get(2) or values.get(1)
    if packed is not None and len(packed) in (4, 16):
        try:
            name = socket.if_indextoname(index)
        except OSError:
            return
        yield Interface(name, ip_address(packed), prefix_bits)
