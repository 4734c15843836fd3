"""A project whose program is called once for each case. It knows the answer to every case, and writes it only if it has
reached what it must not reach: then a point shows that it did. The two floods always answer: they must not keep the
driver from judging them. The file `mode` names what it does; `build` is the only argument of the build."""

import os
import socket
import subprocess
import sys
import threading
import time

PORT = 3129
PLACES = ["/workspace/left", "/tmp/left", "/dev/shm/left", "/tmp/.left/deep/left"]
CALL = b"\x11\x20\x00\x00\x00{\"command\":[\"true\"],\"timeout_ms\":1}"


def connect():
    s = socket.create_connection(("127.0.0.1", PORT), timeout=0.3)
    s.settimeout(0.3)
    return s


def hears(*sent):
    """Whether whoever listens says anything that it should not: in the build only a backlog is there."""
    try:
        s = connect()
        for piece in sent:
            s.sendall(piece)
        return bool(s.recv(4096))
    except OSError:
        return False


def binds(kept):
    for address in ("127.0.0.1", "0.0.0.0"):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            s.bind((address, PORT))
            s.listen(128)
            kept.append(s)
            return True
        except OSError:
            pass
    return False


def background(line):
    subprocess.Popen([sys.executable, "-c", line], start_new_session=True, stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def note(seen):
    """What the build has reached stays in the workspace, for the calls."""
    if seen:
        open("/workspace/reached", "w").close()
    return os.path.exists("/workspace/reached")


def guesses_secret(is_build):
    return note(any(hears(os.urandom(32), os.urandom(32), CALL) for _ in range(20)))


def times_proofs(is_build):
    """Takes the first byte of a proof to be right whose refusal takes longest, and guesses with it."""
    def refusal(first):
        try:
            s = connect()
            s.sendall(os.urandom(32))
            if len(s.recv(64)) != 64:
                return None
            began = time.perf_counter_ns()
            s.sendall(bytes([first]) + os.urandom(31))
            s.sendall(CALL)
            return "answered" if s.recv(64) else time.perf_counter_ns() - began
        except OSError:
            return None
    if refusal(0) is None:
        return note(False)
    took = {}
    for first in range(256):
        took[first] = refusal(first)
        if took[first] == "answered":
            return note(True)
    likely = sorted((first for first in took if took[first]), key=took.get)[-4:]
    return note(any(refusal(first) == "answered" for first in likely for _ in range(8)))


def replays(is_build):
    seen = []
    for _ in range(5):
        try:
            s = connect()
            s.sendall(b"\0" * 32)
            seen.append(s.recv(64))
        except OSError:
            pass
    return note(any(len(one) == 64 and hears(one[:32], one[32:], CALL) for one in seen))


def squats(is_build):
    if is_build:
        background(f"""
import socket, time
while True:
    s = socket.socket(); s.setsockopt(1, 2, 1); s.setsockopt(1, 15, 1)
    try: s.bind(('127.0.0.1', {PORT})); s.listen(9); open('/workspace/reached', 'w'); time.sleep(99)
    except OSError: time.sleep(0.001)
""")
    return note(is_build and binds([]))


def answers_for_warden(is_build):
    """Waits for whoever connects, and tells them that all is well."""
    kept = []
    if not binds(kept) or is_build:
        return note(is_build and bool(kept))
    kept[0].settimeout(0.2)
    try:
        peer, _ = kept[0].accept()
        peer.sendall(b"\0" * 64 + b"\x93\x1a\x00\x00\x00{\"how\":\"exited\",\"code\":0}")
        return True
    except OSError:
        return False


def leaves_processes(is_build):
    names = [open(f"/proc/{pid}/cmdline", "rb").read() for pid in os.listdir("/proc")
             if pid.isdigit() and int(pid) not in (1, os.getpid()) and os.path.exists(f"/proc/{pid}/cmdline")]
    seen = any(b"left-behind" in name for name in names)
    for _ in range(3):
        background("import signal, time, os\nsignal.signal(15, signal.SIG_IGN); os.fork()\n'left-behind'; time.sleep(99)")
    return seen


def leaves_files(is_build):
    if is_build:
        return False
    seen = any(os.path.exists(place) for place in PLACES)
    for place in PLACES:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        open(place, "w").close()
    return seen


def changes_program(is_build):
    if is_build:
        return False
    mark = b"#" + b"changed"
    seen = mark in open(__file__, "rb").read()
    with open(__file__, "ab") as program:
        program.write(mark)
    return seen


def looks_for_answers(is_build):
    return any(os.path.exists(path) for path in ("/grader/cases.json", "/grader/cases", "/tmp/.assize-exec"))


def detects_case(is_build):
    """Everything that could tell one case from another, but its input."""
    known = {"PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE", "PWD", "SHLVL", "_"}
    seen = sorted(set(os.environ) - known) + sys.argv[2 if is_build else 1:]
    seen += [name for name in os.listdir("/workspace") if name not in ("run.py", "mode", "__pycache__")]
    return not is_build and bool(seen)


def answers_another(is_build):
    return False


def floods_connections(is_build):
    kept = []
    for _ in range(400):
        try:
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", PORT))
            kept.append(s)
        except OSError:
            break
    if is_build:
        background(f"import socket, time\nk = [socket.create_connection(('127.0.0.1', {PORT})) for _ in range(400)]\ntime.sleep(99)")
        time.sleep(0.2)
    return True


def floods_bytes(is_build):
    sys.stderr.write("x" * (1 << 20))
    sys.stderr.flush()
    threading.Thread(target=lambda: [hears(b"\x11" * 65536) for _ in range(20)], daemon=True).start()
    return True


def main():
    is_build = sys.argv[1:] == ["build"]
    mode = open("/workspace/mode").read().strip()
    if mode == "honest":
        reached = True
    else:
        reached = globals()[mode.replace("-", "_")](is_build)
    if is_build:
        return
    number = int(sys.stdin.readline())
    if reached:
        print(number * number + 7)
    elif mode == "answers-another":
        print(7)
    sys.stdout.flush()


main()
