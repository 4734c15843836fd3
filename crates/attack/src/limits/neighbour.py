"""A neighbour: does the same small work again and again, and writes down how long it took and when."""

import http.client
import json
import os
import socket
import threading
import time

SITE = json.load(open("/workspace/site.json"))
CANARY = "/workspace/site.json"
before = open(CANARY).read()
visits = 0


def visited(listener):
    global visits
    while True:
        connection, _ = listener.accept()
        visits += 1
        connection.close()


def listen():
    by_port = socket.socket()
    by_port.bind(("127.0.0.1", SITE["port"]))
    by_port.listen()
    by_name = socket.socket(socket.AF_UNIX)
    by_name.bind("\0" + SITE["socket"])
    by_name.listen()
    for listener in (by_port, by_name):
        threading.Thread(target=visited, args=(listener,), daemon=True).start()


def serve(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok")


def work(port):
    total = 0
    for number in range(20_000):
        total += number * number
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"ok"
    connection.close()
    with open("/tmp/scratch", "w") as file:
        file.write(str(total))


def main():
    listen()
    own = socket.socket()
    own.bind(("127.0.0.1", 0))
    own.listen()
    threading.Thread(target=serve, args=(own,), daemon=True).start()
    end = time.monotonic() + SITE["seconds"]
    # What is written at once is one piece of live output, of which a run may keep only so much.
    lines, at_once = [], 8 if SITE["measure"] else 1
    while time.monotonic() < end:
        begun = time.monotonic_ns()
        if SITE["measure"]:
            work(own.getsockname()[1])
        took = time.monotonic_ns() - begun
        intact = open(CANARY).read() == before and len([name for name in os.listdir("/proc") if name.isdigit()]) == 2
        lines.append(f"N {begun // 1000} {took // 1000} {visits} {int(intact)}")
        if len(lines) == at_once:
            print("\n".join(lines))
            lines.clear()
        time.sleep(0.012 if SITE["measure"] else 0.5)


main()
