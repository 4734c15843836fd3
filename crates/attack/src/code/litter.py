# Leaves in its cell and its namespace whatever code can leave there, for the run that comes next.
import json, os, socket, struct, sys

MESSAGE = b"sixteen bytes ok"


def wait_on(port):
    """Both ends of a connection on a port are closed, the listening side first: its end waits."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    there = socket.create_connection(("127.0.0.1", port))
    here, _ = listening.accept()
    here.close()
    there.recv(1)
    there.close()
    listening.close()


def attempt(what):
    try:
        what()
    except OSError as error:
        print("not left:", error)


for port in (80, 443, 3000, 5000, 8000, 8080):
    attempt(lambda: wait_on(port))
for at, byte in enumerate(MESSAGE):
    # A bit is a port that waits, or does not.
    for bit in range(8):
        if byte >> bit & 1:
            attempt(lambda: wait_on(10000 + at * 8 + bit))
attempt(lambda: socket.create_connection(("127.0.0.1", 9)))

datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 5353))
for _ in range(3000):
    datagrams.sendto(b"x" * 1000, ("127.0.0.1", 5353))
attempt(lambda: datagrams.sendto(b"x", ("127.0.0.1", 5354)))

abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\0left-behind")
abstract.listen()

for folder in ("/tmp", "/dev/shm", "/workspace"):
    def leave():
        with open(os.path.join(folder, "left-behind"), "w") as file:
            file.write("left behind")
    attempt(leave)

for setting in ("ip_local_port_range", "tcp_max_tw_buckets"):
    def change():
        with open("/proc/sys/net/ipv4/" + setting, "w") as file:
            file.write("1024 1100")
    attempt(change)

if os.fork() == 0:
    os.setsid()
    # Whoever lives on holds its sockets, and its namespace.
    sys.stdout.close()
    import time
    time.sleep(3600)
print("BERTH " + socket.gethostname())
