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


