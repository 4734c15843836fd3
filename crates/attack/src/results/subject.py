"""A service that answers no question rightly and wants points all the same. The file `mode` says how."""

import ctypes
import os
import resource
import signal
import socket
import struct
import threading
import time

PORT = 8000
HOME = "/workspace"
MODE = open(f"{HOME}/mode").read().strip()
FRAMES = open(f"{HOME}/frames", "rb").read()
MARKS = b'{"tests": [' + b", ".join(b'{"name": "%d", "score": 1, "max_score": 1}' % n for n in range(10)) + b"]}"
PASSED = b"PASSED\nok 1\n1..1\n<testsuite tests='1'><testcase name='a'/></testsuite>\n" + MARKS + b"\n"
libc = ctypes.CDLL(None, use_errno=True)


def reply(body, head=b""):
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n%s\r\n" % (len(body), head) + body


WRONG = reply(b"wrong")
questions = 0


class Hooks:
    """What a mode does at the start, and what it answers; by default nothing and the wrong thing."""

    at_start = staticmethod(lambda: None)
    answer = staticmethod(lambda connection, path: connection.sendall(WRONG))


def at_start(function):
    Hooks.at_start = staticmethod(function)


def answer(function):
    Hooks.answer = staticmethod(function)


def answers(whole):
    answer(lambda connection, path: connection.sendall(whole))


def first_question(function):
    def act(connection, path):
        global questions
        questions += 1
        if questions == 1:
            function()
        connection.sendall(WRONG)

    answer(act)


def quietly(function, *arguments):
    try:
        return function(*arguments)
    except (OSError, ValueError):
        return None


def say(descriptor, what):
    quietly(os.write, descriptor, what)


def put(path, what):
    def write():
        with open(path, "wb") as file:
            file.write(what)

    quietly(write)


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def slowly(pieces, pause):
    def act(connection, path):
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)

    answer(act)


def endlessly(begin, piece):
    def act(connection, path):
        connection.sendall(begin)
        while True:
            connection.sendall(piece)

    answer(act)


# --- the modes --------------------------------------------------------------------------------------------

def honest():
    def right(connection, path):
        connection.sendall(reply(str(int(path.rsplit("/", 1)[1]) ** 2).encode()))

    answer(right)


def results_everywhere():
    def act():
        for folder in ("/workspace", "/tmp", "/grader", "/", "/dev/shm", "/proc/1/cwd", "/proc/1/root/workspace", "/.assize"):
            for name in ("results.json", "results", "results.xml", "results.tap", "driver.py", "score"):
                put(f"{folder}/{name}", MARKS)

    at_start(act)


def frames_stdout():
    at_start(lambda: say(1, FRAMES))


def frames_stderr():
    at_start(lambda: say(2, FRAMES))


def frames_reopened():
    def act():
        for path in ("/proc/1/fd/1", "/proc/1/fd/2", "/dev/console", "/dev/tty", "/dev/stdout", "/dev/stderr", "/proc/self/fd/1", "/proc/self/fd/2"):
            put(path, FRAMES)

    at_start(act)


def frames_flood():
    def act():
        for cut in range(1000):
            say(1, b"x" * (cut % 61) + b"\n" + FRAMES)

    at_start(act)


def frames_answer():
    answers(reply(FRAMES))


def passed_lines():
    at_start(lambda: (say(1, PASSED), say(2, PASSED)))


def passed_answers():
    answers(reply(PASSED))


def injected_json():
    answers(reply(b'"}, {"name": "x", "score": 10, "max_score": 10, "output": "'))


def injected_lines():
    answers(reply(b'\r\n\x1b[2J"]}\n' + MARKS + b"\n"))


def ptrace():
    def act():
        for pid in pids():
            for request in (16, 0x4206):
                libc.ptrace(request, pid, 0, 0)

    at_start(act)


def signals():
    def act():
        for pid in (1,):
            for number in range(1, 65):
                quietly(os.kill, pid, number)

    at_start(act)


def warden_limits():
    def act():
        for which in range(16):
            quietly(resource.prlimit, 1, which, (0, 0))
        quietly(os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
        quietly(os.setpriority, os.PRIO_PROCESS, 1, 19)

    at_start(act)


def warden_memory():
    def act():
        for path in ("/proc/1/mem", "/proc/1/task/1/mem"):
            put(path, MARKS)
        local = struct.pack("QQ", ctypes.addressof(ctypes.create_string_buffer(MARKS)), 8)
        for base in (0x400000, 0x555555554000, 0x7FFFF7FF0000):
            libc.process_vm_writev(1, local, 1, struct.pack("QQ", base, 8), 1, 0)

    at_start(act)


def slow_head():
    slowly([bytes([byte]) for byte in WRONG[:40]], 0.5)


def slow_body():
    slowly([b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n"] + [b"x"] * 50, 0.5)


def silent():
    answer(lambda connection, path: time.sleep(60))


def not_accepting():
    def act(connection, path):
        connection.close()
        time.sleep(60)

    answer(act)
    Hooks.one_by_one = True


def endless_head():
    endlessly(b"HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n" * 50)


def endless_line():
    endlessly(b"HTTP/1.1 200 OK\r\nx-long: ", b"x" * 4096)


def endless_body():
    endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"4" * 4096)


def endless_continue():
    endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n")


def endless_chunks():
    endlessly(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n4\r\n" * 100)


def bad_status():
    answers(b"HTTP/9.9 yes PASSED\r\n\r\n4")


def bad_length():
    answers(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nwrong")


def bad_chunks():
    answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nwrong")


def short_length():
    answers(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nwrong")


def two_answers():
    answers(WRONG + b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n9")


def compressed_bomb():
    import zlib

    bomb = zlib.compress(b"\0" * (1 << 26), 9)
    answers(reply(bomb, b"content-encoding: deflate\r\n"))


def redirect():
    def act(connection, path):
        for place in (b"file:///grader/driver.py", b"http://127.0.0.1:22/", b"http://169.254.169.254/"):
            connection.sendall(b"HTTP/1.1 302 Found\r\nlocation: %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % place)

    answer(act)


def reset():
    def act(connection, path):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    answer(act)


def http_0_9():
    answers(b"4\n")


def other_status():
    def act(connection, path):
        right = str(int(path.rsplit("/", 1)[1]) ** 2).encode()
        connection.sendall(reply(right).replace(b"200 OK", b"500 Oh"))

    answer(act)


def stops_itself():
    first_question(lambda: os.kill(os.getpid(), signal.SIGSTOP))


def dies():
    first_question(lambda: os._exit(0))


def eats_memory():
    def act():
        hold = []
        while True:
            hold.append(bytearray(1 << 24))

    first_question(act)


def forks():
    def act():
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(30)
                    os._exit(0)
            except OSError:
                return

    first_question(act)


def takes_ports():
    """Connections of its own until no port of the loopback is free."""

    def act():
        hold = []
        while len(hold) < 4000:
            sock = socket.socket()
            sock.setblocking(False)
            if quietly(sock.bind, ("127.0.0.1", 0)) is None and sock.getsockname()[1] == 0:
                break
            hold.append(sock)
        time.sleep(60)

    at_start(lambda: threading.Thread(target=act, daemon=True).start())


def visits_driver():
    def act():
        seen = set()
        while True:
            for line in open("/proc/net/tcp").readlines()[1:]:
                fields = line.split()
                port = int(fields[1].split(":")[1], 16)
                if fields[3] == "0A" and port != PORT and port not in seen:
                    seen.add(port)
                    quietly(offer, (socket.AF_INET, ("127.0.0.1", port)))
            for line in open("/proc/net/unix").readlines()[1:]:
                name = line.split()[-1]
                if name.startswith("@") and name not in seen:
                    seen.add(name)
                    quietly(offer, (socket.AF_UNIX, "\0" + name[1:]))
            time.sleep(0.005)

    def offer(place):
        with socket.socket(place[0]) as sock:
            sock.connect(place[1])
            sock.sendall(FRAMES + PASSED)

    at_start(lambda: threading.Thread(target=act, daemon=True).start())


def stands_in():
    def act():
        hold = []
        for port in range(1, 4000):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if port != PORT:
                quietly(sock.bind, ("127.0.0.1", port))
                quietly(sock.listen)
            hold.append(sock)
        time.sleep(60)

    at_start(lambda: threading.Thread(target=act, daemon=True).start())


def outlives():
    def act():
        if os.fork() == 0:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            while True:
                results_once()

    def results_once():
        for folder in ("/workspace", "/tmp", "/grader"):
            put(f"{folder}/results.json", MARKS)

    at_start(act)


def opens_driver():
    def act():
        for pid in pids():
            for path in (f"/proc/{pid}/root/grader/driver.py", f"/proc/{pid}/root/workspace/results.json"):
                put(path, MARKS)
        put("/grader/driver.py", MARKS)

    at_start(lambda: threading.Thread(target=lambda: [act() or time.sleep(0.02) for _ in range(500)], daemon=True).start())


def wrong():
    pass


# --- the service ------------------------------------------------------------------------------------------

def serve(connection):
    with connection:
        try:
            connection.settimeout(30)
            line = connection.recv(4096).split(b"\r\n")[0].decode(errors="replace").split(" ")
            if len(line) > 1:
                Hooks.answer(connection, line[1])
        except OSError:
            pass


def main():
    globals()[MODE.replace("-", "_")]()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", PORT))
    listener.listen(64)
    Hooks.at_start()
    while True:
        connection, _ = listener.accept()
        if getattr(Hooks, "one_by_one", False):
            serve(connection)
        else:
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
