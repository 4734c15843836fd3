# Looks for anything that an earlier run left: one line for each case, with what was seen, empty where nothing was.
import json, os, socket


def lines(path, skip=1):
    with open(path) as file:
        return file.read().splitlines()[skip:]


def counters(path, family, names):
    """The counters of one family that are not 0."""
    table = [line.split() for line in lines(path, 0) if line.startswith(family + ":")]
    found = dict(zip(table[0][1:], table[1][1:]))
    return {name: found[name] for name in names if found.get(name, "0") != "0"}


def loopback():
    [line] = [line for line in lines("/proc/net/dev", 2) if line.split(":")[0].strip() == "lo"]
    numbers = line.split(":")[1].split()
    return {"bytes": numbers[0]} if numbers[0] != "0" else {}


def binds(ports):
    """What could not be bound, by a service that does not ask for its port to be reused."""
    failed = {}
    for port in ports:
        with socket.socket() as listening:
            try:
                listening.bind(("127.0.0.1", port))
                listening.listen()
            except OSError as error:
                failed[port] = str(error)
    return failed


def message():
    """The bytes that the ports which cannot be bound spell."""
    failed = binds(range(10000, 10128))
    spelled = bytes(sum(1 << bit for bit in range(8) if 10000 + at * 8 + bit in failed) for at in range(16))
    return spelled.decode(errors="replace") if any(spelled) else ""


def abstract():
    with socket.socket(socket.AF_UNIX) as own:
        try:
            own.bind("\0left-behind")
        except OSError as error:
            return str(error)
    return [line for line in lines("/proc/net/unix") if "left-behind" in line]


def datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        try:
            own.bind(("127.0.0.1", 5353))
        except OSError as error:
            return str(error)
    return lines("/proc/net/udp")


def setting(name, normal):
    with open("/proc/sys/net/ipv4/" + name) as file:
        seen = file.read().split()
    return seen if seen != normal else ""


def processes():
    others = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, os.getpid())]
    return others


def waiting():
    """Sockets in TIME_WAIT that the namespace counts."""
    [line] = [line for line in lines("/proc/net/sockstat", 0) if line.startswith("TCP:")]
    words = line.split()
    return words[words.index("tw") + 1] if words[words.index("tw") + 1] != "0" else ""


LOOKS = {
    "sockets": lambda: lines("/proc/net/tcp"),
    "waiting": waiting,
    "tcp": lambda: counters("/proc/net/snmp", "Tcp", ["ActiveOpens", "PassiveOpens", "InSegs", "OutSegs", "AttemptFails", "OutRsts"]),
    "udp": lambda: counters("/proc/net/snmp", "Udp", ["InDatagrams", "OutDatagrams", "NoPorts", "InErrors", "RcvbufErrors"]),
    "ip": lambda: counters("/proc/net/snmp", "Ip", ["InReceives", "InDelivers", "OutRequests"]),
    "icmp": lambda: counters("/proc/net/snmp", "Icmp", ["InMsgs", "OutMsgs", "InDestUnreachs"]),
    "netstat": lambda: counters("/proc/net/netstat", "TcpExt", ["TW", "TWRecycled", "DelayedACKs", "TCPPureAcks", "TCPHPHits"]),
    "octets": lambda: counters("/proc/net/netstat", "IpExt", ["InOctets", "OutOctets"]),
    "loopback": loopback,
    "datagrams": datagrams,
    "abstract": abstract,
    "message": message,
    "port-low": lambda: binds((80, 443)),
    "port": lambda: binds((3000, 5000, 8000, 8080)),
    # The warden has made a folder for this run's own temporary files.
    "files-tmp": lambda: [name for name in os.listdir("/tmp") if os.path.join("/tmp", name) != os.environ.get("TMPDIR")],
    "files-shm": lambda: os.listdir("/dev/shm"),
    "files-workspace": lambda: [name for name in os.listdir("/workspace") if name != "run.py"],
    "processes": processes,
    "port-range": lambda: setting("ip_local_port_range", ["32768", "60999"]),
}
print("BERTH " + socket.gethostname())
# The looks that make traffic of their own come last.
for name in sorted(LOOKS, key=lambda name: name in ("abstract", "datagrams", "message", "port", "port-low")):
    try:
        seen = LOOKS[name]()
    except Exception as error:
        print("LOOK " + json.dumps({"name": name, "broke": repr(error)}))
        continue
    print("LOOK " + json.dumps({"name": name, "seen": json.dumps(seen) if seen else ""}))
