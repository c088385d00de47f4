"""Runs a command on a terminal of its own, whose standard error is this program's.

Each line of standard input is typed, with escapes such as \\x03; its end hangs the terminal up.
"""
import os, pty, select, sys

stderr = os.dup(2)
pid, terminal = pty.fork()
if pid == 0:
    os.dup2(stderr, 2)
    os.execvp(sys.argv[1], sys.argv[1:])
os.close(stderr)

while True:
    ready, _, _ = select.select([0, terminal], [], [])
    if terminal in ready:
        try:
            written = os.read(terminal, 4096)
        except OSError:
            break
        if not written:
            break
        os.write(1, written)
    if 0 in ready:
        typed = os.read(0, 4096)
        if not typed:
            break
        for line in typed.decode().splitlines():
            os.write(terminal, line.encode().decode("unicode_escape").encode())

os.close(terminal)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
