#!/usr/bin/env bash
# For how long does c-ares keep a DNS answer that forbids it to be kept?
#
# Versions:  aiodns 4.0.4 with pycares 5.2.1, which has c-ares 1.34.9; dnspython 2.9.2 (PyPI)
# Guess:     not at all: with a time to live of 0, and an SOA record whose minimum is 0, each lookup asks
#            the server, whether the name has records, has none of that type (NODATA), or does not exist
#            (NXDOMAIN).
# Seen:      so it goes with records and with NXDOMAIN. NODATA is kept for an hour, the most that
#            c-ares keeps anything: a name that has got its first address meanwhile is without one for
#            who has asked before. The SOA record counts for nothing there, but an NS record of
#            TTL 0 beside it does. Known since September 2026, and open (c-ares, issue 1293).
# For users: aiohttp takes aiodns for its resolver where it is installed. A name that is asked for
#            before its actor is ready stays empty. `aiohttp.TCPConnector(resolver=
#            aiohttp.ThreadedResolver())` asks the system.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install aiodns==4.0.4 pycares==5.2.1 dnspython==2.9.2
cat > ask.py <<'P'
import asyncio
import collections

import aiodns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

asked = collections.Counter()


class Server(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, caller):
        question = dns.message.from_wire(data)
        name = question.question[0].name
        kind = name.labels[0].decode()
        asked[kind] += 1
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA
        if kind == "address":
            answer.answer.append(dns.rrset.from_text(name, 0, "IN", "A", "192.0.2.1"))
        else:
            soa = "ns.example. who.example. 1 60 10 600 0"
            answer.authority.append(dns.rrset.from_text("example.", 0, "IN", "SOA", soa))
        if kind == "nxdomain":
            answer.set_rcode(dns.rcode.NXDOMAIN)
        if kind == "nodata-with-ns":
            answer.authority.append(dns.rrset.from_text("example.", 0, "IN", "NS", "ns.example."))
        self.transport.sendto(answer.to_wire(), caller)


async def main():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    resolver = aiodns.DNSResolver(nameservers=[f"127.0.0.1:{port}"])
    kinds = "address", "nxdomain", "nodata", "nodata-with-ns"
    for _ in range(3):
        for kind in kinds:
            try:
                await resolver.query_dns(f"{kind}.example", "A")
            except aiodns.error.DNSError:
                pass
        await asyncio.sleep(2)
    for kind in kinds:
        print(f"{kind}: 3 lookups, {asked[kind]} questions")


asyncio.run(main())
P
venv/bin/python ask.py | tee seen
diff seen - <<'S'
address: 3 lookups, 3 questions
nxdomain: 3 lookups, 3 questions
nodata: 3 lookups, 1 questions
nodata-with-ns: 3 lookups, 3 questions
S
echo "as it was"
