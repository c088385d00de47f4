"""Plays the client in Python: puts the questions that it reads, and prints the answers.

python player.py asyncio|trio CA CERTIFICATE KEY
and on a line: QUESTION NAME REGISTRAR..., with tabs between them
"""

import sys

import anyio

import callsign


async def play(question: str, name: str, *registrars: str) -> str:
    patience = 0.0 if question.startswith("hasty ") else None
    # On a busy machine the nearest may take longer than its head start.
    options = callsign.Options(patience=patience, stagger_within_host=60.0)
    async with callsign.open(*registrars, options=options, tls=TLS) as client:
        try:
            match question.removeprefix("hasty "):
                case "query":
                    return found((await client.query(name)).complete())
                case "query all":
                    return found((await client.query(name, all=True)).complete())
                case "list":
                    return listed((await client.list(name)).complete())
                case "wait":
                    return found(callsign.LookupResult((await client.wait(name),), 1))
                case "briefly wait":
                    with anyio.move_on_after(0.3):
                        return f"{(await client.wait(name)).name} came"
                    return "waits"
                case "find":
                    async with await client.find(name) as it:
                        return f"{it.endpoint} ({it.locality}), {it.assurance}"
        except callsign.NotFound:
            return "none"
        except callsign.Error as error:
            return str(error)
    raise SystemExit(f"no such question: {question}")


def found(answer: callsign.LookupResult) -> str:
    if not answer.records:
        return "none"
    first = answer.records[0]
    more = "; not all registrars answered" if answer.unanswered else ""
    places = " ".join(str(it.endpoint) for it in first.endpoints)
    of = f"{len(answer.records)} of {answer.total}"
    return f"{of}: {first.name}, {first.state}, {first.lifetime}, at {places}{more}"


def listed(answer: callsign.LookupResult) -> str:
    names = sorted({it.name for it in answer.records})
    return f"{len(answer.records)} of {', '.join(names)}" if names else "none"


TLS = callsign.Tls(*sys.argv[2:])

for line in sys.stdin:
    said = anyio.run(play, *line.rstrip("\n").split("\t"), backend=sys.argv[1])
    print(said.replace("\n", " |"), flush=True)
