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


