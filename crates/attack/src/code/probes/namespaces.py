# --- namespaces -------------------------------------------------------------------------------------------

def clone(flags):
    number = CALLS["clone"][MACHINE]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), ctypes.c_long(flags | signal.SIGCHLD), None, None, None, None)
    if result == 0:
        os._exit(0)
    if result < 0:
        denied(ctypes.get_errno())
    os.waitpid(result, 0)
    return "a process in a namespace of its own"


@probe
def clone_user():
    return clone(0x10000000)


@probe
def clone_mount():
    return clone(0x00020000)


@probe
def clone_net():
    return clone(0x40000000)


@probe
def clone3_user():
    arguments = ctypes.create_string_buffer(struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0))
    number = CALLS["clone3"][MACHINE]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), arguments, ctypes.c_long(64))
    if result == 0:
        os._exit(0)
    if result < 0:
        denied(ctypes.get_errno())
    os.waitpid(result, 0)
    return "a process in a namespace of its own"


@probe
def setns_own():
    return call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)


@probe
def setns_warden():
    return call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0)


@probe
def perf_events():
    return call("perf_event_open", struct.pack("IIQ", 1, 112, 0) + b"\0" * 96, 0, -1, -1, 0)


@probe
def adjtimex():
    return call("adjtimex", ctypes.create_string_buffer(struct.pack("I", 0x4000) + b"\0" * 252))


