# --- the network ------------------------------------------------------------------------------------------

def reach(family, kind, address):
    with socket.socket(family, kind) as sock:
        sock.settimeout(2)
        sock.connect(address)
        if kind == socket.SOCK_DGRAM:
            sock.send(b"\0" * 12)
            sock.recv(512)
        return f"reached {address}"


TCP = socket.SOCK_STREAM
UDP = socket.SOCK_DGRAM
V4, V6 = socket.AF_INET, socket.AF_INET6
addresses = {
    "metadata": (V4, TCP, ("169.254.169.254", 80)),
    "metadata-v6": (V6, TCP, ("fd00:ec2::254", 80)),
    "metadata-mapped": (V6, TCP, ("::ffff:169.254.169.254", 80)),
    "gateway": (V4, TCP, ("172.17.0.1", 2375)),
    "private-10": (V4, TCP, ("10.0.0.1", 22)),
    "private-192": (V4, TCP, ("192.168.1.1", 80)),
    "carrier": (V4, TCP, ("100.64.0.1", 80)),
    "internet": (V4, TCP, ("1.1.1.1", 443)),
    "internet-v6": (V6, TCP, ("2606:4700:4700::1111", 443)),
    "link-local-v6": (V6, TCP, ("fe80::1", 80, 0, 1)),
    "dns-udp": (V4, UDP, ("8.8.8.8", 53)),
    "dns-engine": (V4, UDP, ("127.0.0.11", 53)),
    "multicast": (V4, UDP, ("224.0.0.1", 5353)),
    "engine-tcp": (V4, TCP, ("127.0.0.1", 2375)),
}
for name, arguments in addresses.items():
    PROBES[f"reach-{name}"] = lambda arguments=arguments: reach(*arguments)


@probe
def reach_host():
    return reach(V4, TCP, ("127.0.0.1", SITE["host_port"]))


@probe
def reach_api():
    return reach(V4, TCP, ("127.0.0.1", SITE["api_port"]))


@probe
def reach_neighbour():
    return reach(V4, TCP, ("127.0.0.1", SITE["neighbour_port"]))


@probe
def reach_neighbour_socket():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0" + SITE["neighbour_socket"])
        return "reached"


@probe
def reach_host_socket():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0" + SITE["host_socket"])
        return "reached"


@probe
def read_canary():
    return read(SITE["canary"])


@probe
def resolve():
    try:
        return str(socket.getaddrinfo("example.com", 80)[0][4])
    except socket.gaierror as error:
        return f"gaierror {error.errno}"


@probe
def interfaces():
    return one_of([name for _, name in socket.if_nameindex() if name != "lo" and not name.startswith(("tunl", "sit", "gre", "erspan", "ip_vti", "ip6"))])


@probe
def raw_icmp():
    socket.socket(V4, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    return "a raw socket"


@probe
def raw_tcp():
    socket.socket(V4, socket.SOCK_RAW, socket.IPPROTO_TCP)
    return "a raw socket"


@probe
def packet_socket():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    return "a packet socket"


@probe
def vsock():
    with socket.socket(40, TCP) as sock:
        sock.settimeout(1)
        sock.connect((2, 22))
        return "reached the hypervisor"


def netlink(kind, body, flags=0x605):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(2)
        sock.send(struct.pack("IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        answer = sock.recv(4096)
        kind, = struct.unpack_from("H", answer, 4)
        code, = struct.unpack_from("i", answer, 16)
        if kind == 2 and code < 0:
            denied(-code)
        return "done"


@probe
def new_interface():
    name = b"attack0\0"
    link = struct.pack("HH", 4 + 10, 1) + b"dummy\0" + b"\0\0"
    info = struct.pack("HH", 4 + 12, 18) + struct.pack("HH", 10, 1) + b"dummy\0\0\0"
    return netlink(16, struct.pack("BBHiII", 0, 0, 0, 0, 0, 0) + struct.pack("HH", 4 + len(name), 3) + name + info)


@probe
def new_address():
    body = struct.pack("BBBBI", socket.AF_INET, 8, 0, 0, 1) + struct.pack("HH", 8, 2) + socket.inet_aton("10.9.9.9")
    return netlink(20, body)


@probe
def new_route():
    body = struct.pack("BBBBBBBBI", socket.AF_INET, 0, 0, 0, 254, 4, 253, 1, 0) + struct.pack("HHI", 8, 4, 1)
    return netlink(24, body)


@probe
def interface_flags():
    with socket.socket(V4, UDP) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 0))
        return "lo is down"


@probe
def kill_foreign_socket():
    """SOCK_DESTROY: cuts connections of others in the same namespace."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as sock:
        sock.settimeout(2)
        # One of its own will do: it is found first, and who asks is looked at then.
        target = socket.socket()
        target.bind(("127.0.0.1", 0))
        target.listen()
        place = struct.pack("!HH", target.getsockname()[1], 0) + socket.inet_aton("127.0.0.1") + b"\0" * 28
        body = struct.pack("BBBxI", socket.AF_INET, 6, 0, 0xFFFFFFFF) + place + struct.pack("III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
        sock.send(struct.pack("IHHII", 16 + len(body), 21, 5, 1, 0) + body)
        answer = sock.recv(4096)
        code, = struct.unpack_from("i", answer, 16)
        if code < 0:
            denied(-code)
        return "cut"


@probe
def firewall():
    with socket.socket(V4, socket.SOCK_RAW if os.getuid() == 0 else UDP) as sock:
        sock.getsockopt(0, 64, 84)
        return "read"


@probe
def terminal_injection():
    with open("/dev/tty", "rb+", buffering=0) as tty:
        fcntl.ioctl(tty, 0x5412, b"x")
        return "typed"


@probe
def ping_of_death():
    """Broadcast from a datagram socket."""
    with socket.socket(V4, UDP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.sendto(b"x", ("255.255.255.255", 7))
        return "sent"


