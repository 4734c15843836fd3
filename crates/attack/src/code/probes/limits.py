# --- limits of a process ----------------------------------------------------------------------------------

def raise_limit(which, value):
    soft, hard = resource.getrlimit(which)
    try:
        resource.setrlimit(which, (value, value))
    except ValueError:
        denied(errno.EPERM)
    return f"from {hard} to {value}"


@probe
def more_files():
    return raise_limit(resource.RLIMIT_NOFILE, 1 << 20)


@probe
def core_files():
    return raise_limit(resource.RLIMIT_CORE, 1 << 20)


@probe
def open_files():
    files = []
    try:
        while True:
            files.append(os.open("/dev/null", os.O_RDONLY))
            if len(files) > 8192:
                return f"{len(files)} files"
    except OSError as error:
        denied(error.errno)


@probe
def negative_nice():
    os.nice(-5)
    return "done"


@probe
def real_time():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    return "real-time"


@probe
def deadline_scheduling():
    attributes = struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 5_000_000, 10_000_000, 10_000_000)
    return call("sched_setattr", 0, attributes, 0)


@probe
def oom_score():
    return write("/proc/self/oom_score_adj", b"-1000")


@probe
def core_dump():
    """A process that crashes leaves no core anywhere."""
    before = set(os.listdir("/workspace")) | set(os.listdir("/tmp"))
    child = os.fork()
    if child == 0:
        os.chdir("/workspace")
        os.kill(os.getpid(), signal.SIGQUIT)
    _, how = os.waitpid(child, 0)
    new = (set(os.listdir("/workspace")) | set(os.listdir("/tmp"))) - before
    return "dumped" if os.WCOREDUMP(how) else one_of([name for name in new if "core" in name])


@probe
def message_queues():
    libc.mq_open.restype = ctypes.c_int
    attributes = (ctypes.c_long * 8)(0, 10, 8192)
    for number in range(10_000):
        queue = libc.mq_open(f"/attack{number}".encode(), os.O_CREAT | os.O_RDWR, 0o600, attributes)
        if queue < 0:
            denied(ctypes.get_errno())
    return "10000 queues"


def fill(folder, name, block):
    path = os.path.join(folder, name)
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(4096):
                file.write(block)
        return "a GiB and more"
    finally:
        os.unlink(path)


@probe
def fill_workspace():
    return fill("/workspace", "big", b"x" * (1 << 18))


@probe
def fill_tmp():
    return fill("/tmp", "big", b"x" * (1 << 18))


@probe
def fill_shm():
    return fill("/dev/shm", "big", b"x" * (1 << 18))


def many_files(folder):
    root = os.path.join(folder, "many")
    os.mkdir(root)
    made = []
    try:
        for number in range(200_000):
            path = f"{root}/{number}"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            made.append(path)
        return f"{len(made)} files"
    finally:
        for path in made:
            os.unlink(path)
        os.rmdir(root)


@probe
def inodes_workspace():
    return many_files("/workspace")


@probe
def inodes_tmp():
    return many_files("/tmp")


@probe
def huge_file():
    with open("/workspace/sparse", "wb") as file:
        try:
            file.truncate(1 << 40)
            # It has no blocks: what counts is what can be written.
            file.seek((1 << 40) - 1)
            for _ in range(1 << 16):
                file.write(b"x" * 65536)
            return "written"
        finally:
            os.unlink("/workspace/sparse")


@probe
def setuid_in_workspace():
    path = "/workspace/setuid"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.chmod(path, 0o6755)
    flags = os.statvfs("/workspace").f_flag
    return "nosuid" if flags & os.ST_NOSUID else "suid"


@probe
def device_in_workspace():
    return "nodev" if os.statvfs("/workspace").f_flag & os.ST_NODEV else "dev"


