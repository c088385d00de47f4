#!/usr/bin/env bash
# Does `except KeyboardInterrupt` around the run of a program catch Ctrl-C?
#
# Versions:  trio 0.35.0, anyio 4.16.0 (PyPI), asyncio of whatever Python is here
# Guess:     yes. It is raised in the main task, or where `run` is called, on both libraries alike.
# Seen:      on trio only if it comes while the main task runs, or none. While another task computes it
#            is raised there, and what leaves `run` is a group that holds it: the handler is passed
#            over, and the program ends with a traceback and 1, and not by the signal. So it goes
#            with anyio on trio, and not on asyncio.
# For users: write `except* KeyboardInterrupt`. A library that has tasks of its own may be where it
#            strikes: callsign's client hands it on as it is.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install trio==0.35.0 anyio==4.16.0
cat > press.py <<'P'
import os
import signal
import sys

import anyio

signal.signal(signal.SIGINT, signal.default_int_handler)


async def compute():
    os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C, as this task computes
    for number in range(10_000_000):
        number * number
    await anyio.sleep(60)


async def main(who):
    if who == "main":
        await compute()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(compute)
        await anyio.sleep(60)


try:
    anyio.run(main, sys.argv[2], backend=sys.argv[1])
except KeyboardInterrupt:
    print("caught")
except BaseExceptionGroup as group:
    print("passed over:", *[type(it).__name__ for it in group.exceptions])
P
for library in asyncio trio; do
    for who in main child; do
        echo "$library, in the $who task: $(venv/bin/python press.py $library $who)"
    done
done | tee seen
diff seen - <<'S'
asyncio, in the main task: caught
asyncio, in the child task: caught
trio, in the main task: caught
trio, in the child task: passed over: KeyboardInterrupt
S
echo "as it was"
