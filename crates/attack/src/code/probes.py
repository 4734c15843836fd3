"""Tries, from inside a cell, what no cell may do. Each probe is a process of its own and says one line.

A probe that could do something returns what it got; one that was denied raises the kernel's error. Nothing
here decides whether that is right: the caller knows what each must be denied with.
"""

import ctypes
import errno
import fcntl
import json
import os
import platform
import resource
import signal
import socket
import stat
import struct
import sys
import threading
import time

PROBE_S = 6
MACHINE = 0 if platform.machine() == "x86_64" else 1

# The kernel's numbers: x86-64, then the table that newer architectures share.
CALLS = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "unshare": (272, 97), "setns": (308, 268),
    "clone": (56, 220), "clone3": (435, 435), "fsopen": (430, 430), "open_tree": (428, 428), "fspick": (433, 433),
    "mount_setattr": (442, 442), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "acct": (163, 89), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162), "quotactl": (179, 60),
    "syslog": (103, 116), "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18), "iopl": (172, None), "ioperm": (173, None), "personality": (135, 92),
    "vhangup": (153, 58), "mbind": (237, 235), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "sched_setparam": (142, 118), "setpriority": (141, 140), "ioprio_set": (251, 30), "rt_sigqueueinfo": (129, 138),
    "setuid": (105, 146), "setgid": (106, 144), "setgroups": (116, 159), "capset": (126, 91), "memfd_create": (319, 279),
    "io_uring_register": (427, 427), "modify_ldt": (154, None), "process_madvise": (440, 440),
    "set_mempolicy": (238, 237), "syslog_clear": (103, 116), "uselib": (134, None), "nfsservctl": (180, 42),
    "move_mount": (429, 429), "chroot": (161, 51),
}

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

SITE = {}
PROBES = {}


def probe(function):
    PROBES[function.__name__.replace("_", "-")] = function
    return function


def denied(number, what=""):
    raise OSError(number, what)


def call(name, *arguments):
    number = CALLS[name][MACHINE]
    if number is None:
        denied(errno.ENOSYS, name)
    ctypes.set_errno(0)
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        denied(ctypes.get_errno(), name)
    return f"{name} gave {result}"


def write(path, what=b"x"):
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return f"{os.write(descriptor, what)} bytes written"
    finally:
        os.close(descriptor)


def read(path, most=64):
    with open(path, "rb", buffering=0) as file:
        return f"{len(file.read(most) or b'')} bytes"


def entries(path):
    return f"{len(os.listdir(path))} entries"


def warden_state():
    """Whether PID 1 is there and neither stopped nor traced."""
    state = open("/proc/1/stat").read().rsplit(")", 1)[1].split()[0]
    return "alive" if state in "SRD" else f"state {state}"


def one_of(many):
    return ", ".join(sorted(many)[:4]) if many else "none"


# --- file systems -----------------------------------------------------------------------------------------

probe_calls = {
    # name: (call, arguments)
    "mount-tmpfs": ("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "mount-proc": ("mount", b"none", b"/tmp", b"proc", 0, None),
    "mount-bind": ("mount", b"/proc", b"/tmp", None, 4096, None),
    "mount-overlay": ("mount", b"none", b"/tmp", b"overlay", 0, b"lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w"),
    "mount-cgroup": ("mount", b"none", b"/tmp", b"cgroup", 0, b"memory"),
    "remount-root": ("mount", None, b"/", None, 32 | 4096, None),
    "remount-exec": ("mount", None, b"/workspace", None, 32, b"size=8g"),
    "umount": ("umount2", b"/workspace", 2),
    "pivot-root": ("pivot_root", b"/workspace", b"/workspace"),
    "chroot": ("chroot", b"/tmp"),
    "fsopen": ("fsopen", b"tmpfs", 0),
    "fspick": ("fspick", -100, b"/", 0),
    "open-tree": ("open_tree", -100, b"/", 1),
    "move-mount": ("move_mount", 0, b"/proc", -100, b"/tmp", 0),
    "mount-setattr": ("mount_setattr", -100, b"/", 0, ctypes.create_string_buffer(32), 32),
    "quotactl": ("quotactl", 0x800001 << 8, b"/dev/sda", 0, None),
    # --- namespaces ---
    "unshare-user": ("unshare", 0x10000000),
    "unshare-mount": ("unshare", 0x00020000),
    "unshare-pid": ("unshare", 0x20000000),
    "unshare-net": ("unshare", 0x40000000),
    "unshare-ipc": ("unshare", 0x08000000),
    "unshare-uts": ("unshare", 0x04000000),
    "unshare-cgroup": ("unshare", 0x02000000),
    "unshare-time": ("unshare", 0x00000080),
    # --- the kernel itself ---
    "init-module": ("init_module", b"", 0, b""),
    "finit-module": ("finit_module", 0, b"", 0),
    "delete-module": ("delete_module", b"none", 0x800),
    "kexec-load": ("kexec_load", 0, 0, None, 0),
    "kexec-file-load": ("kexec_file_load", -1, -1, 0, None, 0),
    "reboot": ("reboot", 0xFEE1DEAD, 672274793, 0, None),
    "swapon": ("swapon", b"/tmp/none", 0),
    "swapoff": ("swapoff", b"/tmp/none"),
    "acct": ("acct", b"/tmp/none"),
    "settimeofday": ("settimeofday", None, None),
    "clock-settime": ("clock_settime", 0, struct.pack("qq", 1, 10**9 + 1)),
    "sethostname": ("sethostname", b"x", 1),
    "setdomainname": ("setdomainname", b"x", 1),
    "syslog": ("syslog", 3, ctypes.create_string_buffer(16), 16),
    "syslog-clear": ("syslog_clear", 5, None, 0),
    "bpf": ("bpf", 0, ctypes.create_string_buffer(128), 128),
    "io-uring-setup": ("io_uring_setup", 4, ctypes.create_string_buffer(120)),
    "io-uring-register": ("io_uring_register", -1, 0, None, 0),
    "userfaultfd": ("userfaultfd", 1),
    "keyctl": ("keyctl", 0, -3, 1),
    "add-key": ("add_key", b"user", b"attack", b"x", 1, -4),
    "request-key": ("request_key", b"user", b"attack", None, -4),
    "open-by-handle": ("open_by_handle_at", -100, ctypes.create_string_buffer(struct.pack("Ii", 8, 1) + b"\0" * 8), 0),
    "fanotify": ("fanotify_init", 0, 0),
    "lookup-dcookie": ("lookup_dcookie", 0, ctypes.create_string_buffer(16), 16),
    "iopl": ("iopl", 3),
    "ioperm": ("ioperm", 0, 1, 1),
    "personality": ("personality", 0x0040000),
    "vhangup": ("vhangup",),
    "move-pages": ("move_pages", 1, 0, None, None, None, 0),
    "migrate-pages": ("migrate_pages", 1, 0, None, None),
    "uselib": ("uselib", b"/tmp/none"),
    # --- who one is ---
    "setuid": ("setuid", 0),
    "setgid": ("setgid", 0),
    "setgroups": ("setgroups", 1, struct.pack("I", 0)),
    "capset": ("capset", struct.pack("II", 0x20080522, 0), struct.pack("IIIIII", 1 << 21, 1 << 21, 0, 0, 0, 0)),
    # --- PID 1 ---
    "ptrace-warden": ("ptrace", 16, 1, 0, 0),
    "ptrace-seize-warden": ("ptrace", 0x4206, 1, 0, 0),
    "vm-read-warden": ("process_vm_readv", 1, struct.pack("QQ", 0, 0), 1, struct.pack("QQ", 4096, 8), 1, 0),
    "vm-write-warden": ("process_vm_writev", 1, struct.pack("QQ", 0, 0), 1, struct.pack("QQ", 4096, 8), 1, 0),
    "kcmp-warden": ("kcmp", os.getpid(), 1, 0, 1, 1),
    "prlimit-warden": ("prlimit64", 1, 7, struct.pack("QQ", 4096, 4096), None),
    "prlimit-warden-cpu": ("prlimit64", 1, 0, struct.pack("QQ", 10**6, 10**6), None),
    "prlimit-warden-high-bits": ("prlimit64", 1 << 32 | 1, 7, struct.pack("QQ", 4096, 4096), None),
    "affinity-warden": ("sched_setaffinity", 1, 8, struct.pack("Q", 1)),
    "scheduler-warden": ("sched_setscheduler", 1, 5, struct.pack("i", 0)),
    "scheduler-attr-warden": ("sched_setattr", 1, struct.pack("IIQiIQQQ", 48, 5, 0, 0, 0, 0, 0, 0), 0),
    "priority-warden": ("setpriority", 0, 1, 19),
    "priority-warden-group": ("setpriority", 1, 1, 19),
    "priority-user": ("setpriority", 2, os.getuid(), 19),
    "io-priority-warden": ("ioprio_set", 1, 1, 3 << 13),
    "io-priority-user": ("ioprio_set", 3, os.getuid(), 3 << 13),
}

probe_writes = {
    "write-root": "/attack", "write-passwd": "/etc/passwd", "write-hosts": "/etc/hosts",
    "write-resolv": "/etc/resolv.conf", "write-interpreter": "/usr/bin/python3", "write-warden": "/.assize/warden",
    "write-warden-exe": "/proc/1/exe", "core-pattern": "/proc/sys/kernel/core_pattern",
    "modprobe-path": "/proc/sys/kernel/modprobe", "hostname-file": "/proc/sys/kernel/hostname",
    "sysrq": "/proc/sysrq-trigger", "drop-caches": "/proc/sys/vm/drop_caches",
    "panic-on-oom": "/proc/sys/vm/panic_on_oom", "ip-forward": "/proc/sys/net/ipv4/ip_forward",
    "binfmt": "/proc/sys/fs/binfmt_misc/register", "irq-affinity": "/proc/irq/default_smp_affinity",
    "uevent-helper": "/sys/kernel/uevent_helper", "sys-power": "/sys/power/state", "sys-mtu": "/sys/class/net/lo/mtu",
    "warden-oom-score": "/proc/1/oom_score_adj", "warden-memory": "/proc/1/mem", "warden-name": "/proc/1/comm",
    "warden-label": "/proc/1/attr/current",
    "warden-autogroup": "/proc/1/autogroup", "warden-stdin": "/proc/1/fd/0", "warden-stdout": "/proc/1/fd/1",
    "warden-stderr": "/proc/1/fd/2", "warden-thread-memory": "/proc/1/task/1/mem",
}

probe_reads = {
    "kcore": "/proc/kcore", "proc-keys": "/proc/keys", "timer-list": "/proc/timer_list",
    "sched-debug": "/proc/sched_debug", "kallsyms-root": "/proc/1/syscall", "warden-environment": "/proc/1/environ",
    "warden-maps": "/proc/1/maps", "warden-stack": "/proc/1/stack", "page-map": "/proc/1/pagemap",
    "dev-mem": "/dev/mem", "dev-kmsg": "/dev/kmsg", "dev-kvm": "/dev/kvm", "dev-fuse": "/dev/fuse",
    "dev-tun": "/dev/net/tun", "dev-loop": "/dev/loop-control", "dev-sda": "/dev/sda", "shadow": "/etc/shadow",
    "docker-socket": "/var/run/docker.sock", "containerd-socket": "/run/containerd/containerd.sock",
    "vmcore": "/proc/vmcore", "slab": "/proc/slabinfo", "debugfs": "/sys/kernel/debug/tracing/trace",
}

probe_lists = {
    "acpi": "/proc/acpi", "scsi": "/proc/scsi", "firmware": "/sys/firmware", "warden-fds": "/proc/1/fd",
    "warden-root": "/proc/1/root", "warden-cwd": "/proc/1/cwd", "warden-map-files": "/proc/1/map_files",
    "debug-folder": "/sys/kernel/debug", "bpf-folder": "/sys/fs/bpf",
}

for name, arguments in probe_calls.items():
    PROBES[name] = lambda arguments=arguments: call(*arguments)
for name, path in probe_writes.items():
    PROBES[name] = lambda path=path: write(path)
for name, path in probe_reads.items():
    PROBES[name] = lambda path=path: read(path)
for name, path in probe_lists.items():
    PROBES[name] = lambda path=path: entries(path)


@probe
def write_root():
    descriptor = os.open("/attack", os.O_CREAT | os.O_WRONLY)
    return f"descriptor {descriptor}"


@probe
def docker_socket():
    for path in ("/var/run/docker.sock", "/run/docker.sock"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            return f"connected to {path}"


@probe
def any_socket_file():
    found = []
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys")]
        for name in files:
            path = os.path.join(folder, name)
            try:
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    found.append(path)
            except OSError:
                pass
    return one_of(found)


@probe
def block_devices():
    return one_of([name for name in os.listdir("/dev") if stat.S_ISBLK(os.stat(f"/dev/{name}").st_mode)])


@probe
def mknod_block():
    os.mknod("/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
    return "made"


@probe
def mknod_character():
    os.mknod("/tmp/mem", stat.S_IFCHR | 0o600, os.makedev(1, 1))
    return "made"


@probe
def host_mounts():
    """Mounts that are neither the kernel's own, nor tmpfs, nor what every cell has."""
    known = {"/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.assize/warden"}
    own = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay"}
    found = []
    for line in open("/proc/self/mountinfo"):
        left, right = line.split(" - ")
        if left.split()[4] not in known and right.split()[0] not in own:
            found.append(left.split()[4])
    return one_of(found)


@probe
def writable_mounts():
    """Where anything can be written at all."""
    found = []
    for line in open("/proc/self/mountinfo"):
        path = line.split(" - ")[0].split()[4]
        if os.path.isdir(path) and os.access(path, os.W_OK) and not path.startswith("/proc"):
            found.append(path)
    return one_of(set(found) - {"/workspace", "/tmp", "/dev/shm", "/dev/mqueue"})


@probe
def cgroup_limit():
    for path in ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"):
        if os.path.exists(path):
            return write(path, b"-1")
    denied(errno.ENOENT)


@probe
def cgroup_child():
    for path in ("/sys/fs/cgroup/memory/attack", "/sys/fs/cgroup/attack"):
        os.mkdir(path)
        return "made"


@probe
def cgroup_release_agent():
    for folder in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/rdma", "/sys/fs/cgroup"):
        for name in ("release_agent", "notify_on_release"):
            if os.path.exists(f"{folder}/{name}"):
                return write(f"{folder}/{name}", b"1")
    denied(errno.ENOENT)


@probe
def shocker():
    """Handles of files outside, by their number, as CVE-2014-era escapes opened them."""
    root = os.open("/etc/hostname", os.O_RDONLY)
    handle = ctypes.create_string_buffer(struct.pack("IiQ", 8, 1, 2), 32)
    return call("open_by_handle_at", root, handle, 0)


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


# --- who one is -------------------------------------------------------------------------------------------

@probe
def identity():
    return f"uid {os.getresuid()} gid {os.getresgid()} groups {os.getgroups()}".replace("10001", "N")


def status(field):
    for line in open("/proc/self/status"):
        if line.startswith(field + ":"):
            return line.split(":", 1)[1].strip()


@probe
def capabilities():
    return " ".join(sorted({status(f"Cap{kind}") for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}))


@probe
def no_new_privileges():
    return status("NoNewPrivs")


@probe
def seccomp_mode():
    return status("Seccomp")


@probe
def setuid_programs():
    """Runs what the image has with a setuid bit, and looks whether any of them becomes root."""
    programs = []
    for folder in ("/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin"):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.stat(path).st_mode & 0o6000:
                programs.append(path)
    risen = []
    for path in programs:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            os.close(0)
            os.execv(path, [path, "--version"])
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            try:
                fields = open(f"/proc/{child}/status").read()
                if "Uid:\t10001\t0" in fields:
                    risen.append(path)
                if "State:\tZ" in fields:
                    break
            except OSError:
                break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return one_of(risen)


@probe
def secrets():
    """Names in any environment that could be somebody else's."""
    words = ("ASSIZE", "DATABASE", "REDIS", "SECRET", "TOKEN", "PASSWORD", "KEY", "DOCKER", "PG")
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            variables = open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace").split("\0")
        except OSError:
            continue
        found.update(name for name in (text.split("=")[0] for text in variables) if any(word in name.upper() for word in words))
    return one_of(found)


@probe
def command_lines():
    """Programs that are seen and are not this project's."""
    known = ("python3", "warden", "/.assize/warden", "sh")
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue
        if line and os.path.basename(line) not in known and line not in known:
            found.add(line)
    return one_of(found)


@probe
def foreign_processes():
    found = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if int(pid) > 1 and os.stat(f"/proc/{pid}").st_uid not in (os.getuid(), 0)]
    return one_of(found)


@probe
def inherited_descriptors():
    """What a fresh program finds open beyond its three."""
    found = [os.readlink(f"/proc/self/fd/{name}") for name in SITE["descriptors"].split() if int(name) > 2]
    return one_of(found)


@probe
def stdin_is_empty():
    return os.readlink("/proc/self/fd/0")


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


# --- PID 1 ------------------------------------------------------------------------------------------------

def signals(numbers):
    for number in numbers:
        for _ in range(3):
            try:
                os.kill(1, number)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
    time.sleep(0.05)
    return warden_state()


@probe
def signal_kill():
    return signals([signal.SIGKILL])


@probe
def signal_stop():
    return signals([signal.SIGSTOP])


@probe
def signal_terminal():
    return signals([signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT])


@probe
def signal_polite():
    return signals([signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])


@probe
def signal_faults():
    return signals([signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS])


@probe
def signal_others():
    return signals([signal.SIGPIPE, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGWINCH, signal.SIGURG])


@probe
def signal_real_time():
    return signals(range(32, 65))


@probe
def signal_child_storm():
    for _ in range(20_000):
        os.kill(1, signal.SIGCHLD)
    return warden_state()


@probe
def signal_queued():
    """A signal with the data of one that the kernel sends itself."""
    return call("rt_sigqueueinfo", 1, 9, struct.pack("iii", 9, 0, 1) + b"\0" * 116)


@probe
def signal_by_descriptor():
    call("pidfd_send_signal", os.pidfd_open(1), signal.SIGKILL, None, 0)
    time.sleep(0.05)
    return warden_state()


@probe
def take_descriptor():
    return call("pidfd_getfd", os.pidfd_open(1), 1, 0)


@probe
def advise_warden():
    return call("process_madvise", os.pidfd_open(1), struct.pack("QQ", 4096, 4096), 1, 21, 0)


@probe
def prlimit_warden_x32():
    """The same call by the number of another interface of the same processor."""
    if MACHINE != 0:
        denied(errno.ENOSYS)
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(0x40000000 + 302), ctypes.c_long(1), ctypes.c_long(7), struct.pack("QQ", 4096, 4096), None) < 0:
        denied(ctypes.get_errno())
    return "changed"


@probe
def calls_of_32_bits():
    """prlimit of PID 1 by the interrupt that 32-bit programs use."""
    if MACHINE != 0:
        denied(errno.ENOSYS)
    # mov eax, 340; mov ebx, 1; mov ecx, 7; xor edx, edx; xor esi, esi; int 0x80; ret
    code = bytes.fromhex("53b854010000bb01000000b90700000031d231f6cd805bc3")
    import mmap
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    result = run()
    if result < 0:
        denied(-result)
    return f"the kernel answered {result}"


@probe
def warden_timer_slack():
    return write("/proc/1/timerslack_ns", b"4000000000")


@probe
def console():
    for path in ("/dev/console", "/dev/tty", "/dev/pts/0"):
        try:
            return f"{path}: {write(path)}"
        except OSError as error:
            last = error
    raise last


@probe
def log_of_another():
    """The pipe that the engine reads, through whatever still has it open."""
    found = []
    own = {os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for number in (0, 1, 2):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{number}")
            except OSError:
                continue
            if target.startswith("pipe:") and target not in own and int(pid) == 1:
                found.append(target)
    return one_of(found)


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


# --- runs them --------------------------------------------------------------------------------------------

def tell(writer, how, what):
    os.write(writer, json.dumps([how, what]).encode())
    os._exit(0)


def attempt(function):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setpgid(0, 0)
        try:
            tell(writer, "got", str(function()))
        except OSError as error:
            tell(writer, "denied", errno.errorcode.get(error.errno, str(error)))
        except BaseException as error:
            tell(writer, "broke", f"{type(error).__name__}: {error}")
    os.close(writer)
    timer = threading.Timer(PROBE_S, os.kill, (child, signal.SIGKILL))
    timer.start()
    said = b""
    while piece := os.read(reader, 4096):
        said += piece
    os.close(reader)
    _, how = os.waitpid(child, 0)
    timer.cancel()
    if said:
        return json.loads(said)
    return ["died", signal.Signals(os.WTERMSIG(how)).name if os.WIFSIGNALED(how) else f"exit {os.WEXITSTATUS(how)}"]


def main():
    SITE.update(json.load(open("/workspace/site.json")))
    for name in SITE["probes"]:
        function = PROBES.get(name)
        how, what = attempt(function) if function else ("broke", "there is no such probe")
        print("PROBE", json.dumps({"name": name, "how": how, "what": what}))
    print("PROBE", json.dumps({"name": "end", "how": "got", "what": warden_state()}))


if __name__ == "__main__":
    # Of a fresh program, before this one opens anything of its own.
    SITE["descriptors"] = " ".join(name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
    main()
