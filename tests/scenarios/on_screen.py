"""Runs a command on a terminal of its own, and tells what its screen shows.

Each line of standard input is an order; each answer is a line too:

  type TEXT      types, with escapes such as \\x1b
  await TEXT     waits until the screen shows it, and prints the line that it stands in
  gone TEXT      waits until the screen does not show it
  size ROWS COLS changes the size of the terminal
  signal NUMBER  signals the command
  stopped        waits until the command is stopped, and prints the modes
  colours        prints whether any colour was asked for
  stall          reads the terminal no more
  hangup         closes the terminal

At the end it prints how the command ended, the modes, and what is left on the screen of before.
"""
import fcntl, os, pty, re, select, signal, struct, sys, termios

MODES = termios.ECHO | termios.ICANON | termios.ISIG


class Screen:
    def __init__(self):
        self.main, self.other = {}, {}
        self.is_other = self.is_hidden = self.has_colour = False
        self.x = self.y = 0
        self.rest = b""

    def cells(self):
        return self.other if self.is_other else self.main

    def lines(self):
        cells = self.cells()
        rows = {}
        for (y, x), what in cells.items():
            rows.setdefault(y, {})[x] = what
        return ["".join(row.get(x, " ") for x in range(max(row) + 1)) for _, row in sorted(rows.items())]

    def feed(self, data):
        data = self.rest + data
        self.rest = b""
        at = 0
        while at < len(data):
            if data[at] == 0x1B:
                match = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[^\[])").match(data, at)
                if not match:
                    self.rest = data[at:]
                    return
                self.obey(match.group(1).decode("latin-1"))
                at = match.end()
                continue
            size = 1 if data[at] < 0x80 else 2 if data[at] < 0xE0 else 3 if data[at] < 0xF0 else 4
            if at + size > len(data):
                self.rest = data[at:]
                return
            self.put(data[at : at + size].decode("utf-8", "replace"))
            at += size

    def put(self, what):
        if what == "\r":
            self.x = 0
        elif what == "\n":
            self.x, self.y = 0, self.y + 1
        elif what >= " ":
            self.cells()[self.y, self.x] = what
            self.x += 1

    def obey(self, order):
        if order in ("[?1049h", "[?1049l"):
            self.is_other = order.endswith("h")
            self.other = {}
        elif order in ("[?25h", "[?25l"):
            self.is_hidden = order.endswith("l")
        elif order.endswith("H"):
            y, _, x = order[1:-1].partition(";")
            self.y, self.x = int(y or 1) - 1, int(x or 1) - 1
        elif order == "[2J":
            self.cells().clear()
        elif order.endswith("m") and re.search(r"(^|[\[;])(3[0-8]|4[0-8]|9[0-7])([;m])", order):
            self.has_colour = True


terminal, copy = pty.openpty()
before = termios.tcgetattr(copy)[3] & MODES
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(copy, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(copy, stream)
    os.closerange(3, 64)
    os.execvp(sys.argv[1], sys.argv[1:])
screen = Screen()


def say(*words):
    print(*words, flush=True)


def modes():
    is_same = termios.tcgetattr(copy)[3] & MODES == before
    return " ".join([
        "modes as before," if is_same else "other modes,",
        "other screen," if screen.is_other else "screen of before,",
        "no cursor" if screen.is_hidden else "cursor",
    ])


def resize(rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


resize(24, 80)
child = os.pidfd_open(pid)
orders, typed, is_stalled, is_open = [], b"", False, True
ended = None


def drain():
    while select.select([terminal], [], [], 0)[0]:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            return
        if not data:
            return
        screen.feed(data)


def done(order):
    """Follows an order; tells whether that is possible yet."""
    global is_stalled, is_open
    word, _, text = order.partition(" ")
    if word == "type":
        os.write(terminal, text.encode().decode("unicode_escape").encode("latin-1"))
    elif word == "await":
        found = [line for line in screen.lines() if text in line]
        if not found:
            return False
        say("shown:", found[0])
    elif word == "gone":
        if any(text in line for line in screen.lines()):
            return False
        say("gone:", text)
    elif word == "size":
        resize(*map(int, text.split()))
    elif word == "signal":
        os.kill(pid, int(text))
    elif word == "stopped":
        os.waitid(os.P_PID, pid, os.WSTOPPED)
        drain()
        say("stopped:", modes())
    elif word == "colours":
        say("colours" if screen.has_colour else "no colours")
    elif word == "stall":
        is_stalled = True
    elif word == "hangup":
        os.close(copy)
        os.close(terminal)
        is_open = False
    return True


while ended is None:
    watched = [child, 0] + ([terminal] if is_open and not is_stalled else [])
    ready, _, _ = select.select(watched, [], [])
    if is_open and terminal in ready:
        try:
            screen.feed(os.read(terminal, 65536))
        except OSError:
            is_stalled = True
    if child in ready:
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        break
    if 0 in ready:
        data = os.read(0, 4096)
        if not data:
            os.kill(pid, signal.SIGKILL)
        typed += data
        *lines, typed = typed.split(b"\n")
        orders += [line.decode() for line in lines]
    while orders and done(orders[0]):
        orders.pop(0)

if is_open:
    drain()
    say("left:", " | ".join(screen.lines()))
    say("ended:", f"{ended},", modes())
else:
    say("ended:", ended)
