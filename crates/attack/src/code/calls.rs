//! The calls that a project must be denied, with the results that count as denied.

use super::Probe;

const DENIED: &[&str] = &["EPERM", "EACCES"];
/// Denied by the seccomp filter, or not built into this kernel.
const NO_CALL: &[&str] = &["EPERM", "ENOSYS", "EACCES"];
const READ_ONLY: &[&str] = &["EROFS", "EACCES", "EPERM", "ENOENT"];
const HIDDEN: &[&str] = &["EACCES", "EPERM", "ENOENT", "ENXIO", "0 bytes", "0 entries"];
const UNREACHABLE: &[&str] =
    &["ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "EADDRNOTAVAIL", "EAFNOSUPPORT", "ECONNREFUSED", "EINVAL"];
const REFUSED: &[&str] = &["ECONNREFUSED"];
const NONE: &[&str] = &["none"];
const ALIVE: &[&str] = &["alive"];
const FULL: &[&str] = &["ENOSPC"];

/// Every probe.
pub fn all() -> impl Iterator<Item = Probe> {
    type Group = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    let groups: [Group; 14] = [
        (MOUNTS, DENIED),
        (NEW_MOUNTS, NO_CALL),
        (NAMESPACES, NO_CALL),
        (KERNEL, NO_CALL),
        (IDENTITY, DENIED),
        (WRITES, READ_ONLY),
        (READS, HIDDEN),
        (WARDEN, NO_CALL),
        (WARDEN_FILES, READ_ONLY),
        (SIGNALS, ALIVE),
        (ADDRESSES, UNREACHABLE),
        (LISTENERS, REFUSED),
        (NETWORK, NO_CALL),
        (LOOKS, NONE),
    ];
    let plain =
        groups.into_iter().flat_map(|(names, allowed)| names.iter().map(move |(name, tried)| (*name, *tried, allowed)));
    plain.chain(ODD.iter().copied()).map(|(name, tried, allowed)| Probe { name, tried, allowed })
}

const MOUNTS: &[(&str, &str)] = &[
    ("mount-tmpfs", "mounts a tmpfs"),
    ("mount-proc", "mounts /proc"),
    ("mount-bind", "binds a folder over another"),
    ("mount-overlay", "mounts an overlay over the root"),
    ("mount-cgroup", "mounts the cgroup hierarchy"),
    ("remount-root", "remounts the root so that it can be written"),
    ("remount-exec", "remounts the workspace with more room"),
    ("umount", "unmounts the workspace"),
    ("pivot-root", "changes its root by pivot_root"),
    ("chroot", "changes its root"),
    ("mknod-block", "makes a block device"),
    ("mknod-character", "makes a character device"),
];

const NEW_MOUNTS: &[(&str, &str)] = &[
    ("fsopen", "opens a file system by the new calls"),
    ("fspick", "picks the root file system to reconfigure it"),
    ("open-tree", "clones the tree of mounts"),
    ("move-mount", "moves a mount by the new calls"),
    ("mount-setattr", "changes the attributes of a mount"),
    ("quotactl", "changes disk quotas"),
    ("open-by-handle", "opens a file by its handle"),
    ("shocker", "opens files of the host by their inode numbers"),
    ("fanotify", "watches the whole file system"),
];

const NAMESPACES: &[(&str, &str)] = &[
    ("unshare-user", "makes a user namespace"),
    ("unshare-mount", "makes a mount namespace"),
    ("unshare-pid", "makes a PID namespace"),
    ("unshare-net", "makes a network namespace"),
    ("unshare-ipc", "makes an IPC namespace"),
    ("unshare-uts", "makes a namespace of host names"),
    ("unshare-cgroup", "makes a cgroup namespace"),
    ("unshare-time", "makes a time namespace"),
    ("clone-user", "starts a process in a user namespace"),
    ("clone-mount", "starts a process in a mount namespace"),
    ("clone-net", "starts a process in a network namespace"),
    ("clone3-user", "starts a process in a user namespace by clone3"),
    ("setns-own", "enters a namespace that it has a descriptor of"),
    ("setns-warden", "enters the mount namespace of PID 1"),
];

const KERNEL: &[(&str, &str)] = &[
    ("init-module", "loads a kernel module from memory"),
    ("finit-module", "loads a kernel module from a file"),
    ("delete-module", "removes a kernel module"),
    ("kexec-load", "loads another kernel"),
    ("kexec-file-load", "loads another kernel from a file"),
    ("reboot", "restarts the host"),
    ("swapon", "adds swap"),
    ("swapoff", "removes swap"),
    ("acct", "turns process accounting on"),
    ("settimeofday", "sets the clock"),
    ("clock-settime", "sets the clock by clock_settime"),
    ("adjtimex", "tunes the clock"),
    ("sethostname", "changes the host's name"),
    ("setdomainname", "changes the domain's name"),
    ("syslog", "reads the kernel's log"),
    ("syslog-clear", "clears the kernel's log"),
    ("bpf", "creates a BPF map"),
    ("perf-events", "counts the processor's events"),
    ("io-uring-setup", "makes an io_uring"),
    ("io-uring-register", "registers buffers with an io_uring"),
    ("userfaultfd", "handles page faults of the kernel itself"),
    ("keyctl", "asks for a keyring"),
    ("add-key", "adds a key to the kernel's keyrings"),
    ("request-key", "makes the kernel ask user space for a key"),
    ("lookup-dcookie", "looks up a path by its cookie"),
    ("iopl", "asks for the right to input and output ports"),
    ("ioperm", "asks for one port"),
    ("personality", "turns address randomisation off"),
    ("vhangup", "hangs up the terminal"),
    ("uselib", "maps a library the ancient way"),
];

const IDENTITY: &[(&str, &str)] = &[
    ("setuid", "becomes root"),
    ("setgid", "becomes the group root"),
    ("setgroups", "adds root to its groups"),
    ("capset", "acquires CAP_SYS_ADMIN"),
    ("more-files", "raises its limit of open files"),
    ("core-files", "raises its limit of core files"),
    ("negative-nice", "raises its priority"),
    ("real-time", "becomes a real-time process"),
    ("deadline-scheduling", "reserves half a processor"),
    ("oom-score", "hides from the OOM killer"),
];

const WRITES: &[(&str, &str)] = &[
    ("write-root", "makes a file in /"),
    ("write-passwd", "writes to /etc/passwd"),
    ("write-hosts", "writes to /etc/hosts, which the engine mounts"),
    ("write-resolv", "writes to /etc/resolv.conf, which the engine mounts"),
    ("write-interpreter", "replaces an interpreter of the image"),
    ("write-warden", "replaces the warden's binary"),
    ("write-warden-exe", "writes to the binary that PID 1 runs (CVE-2019-5736)"),
    ("core-pattern", "sets core_pattern to a program of its own"),
    ("modprobe-path", "sets the program that loads modules"),
    ("hostname-file", "changes the host's name through /proc"),
    ("sysrq", "crashes the host through sysrq-trigger"),
    ("drop-caches", "drops the host's caches"),
    ("panic-on-oom", "makes the host panic when memory runs out"),
    ("ip-forward", "turns forwarding on"),
    ("binfmt", "registers an interpreter for all programs"),
    ("irq-affinity", "moves interrupts"),
    ("uevent-helper", "sets the program that the kernel runs for devices"),
    ("sys-power", "suspends the host"),
    ("sys-mtu", "changes the interface through /sys"),
    ("cgroup-limit", "lifts its own memory limit"),
    ("cgroup-child", "makes a cgroup of its own"),
    ("cgroup-release-agent", "sets a release agent (CVE-2022-0492)"),
];

const READS: &[(&str, &str)] = &[
    ("kcore", "reads the kernel's memory through /proc/kcore"),
    ("vmcore", "reads the memory of a crashed kernel"),
    ("proc-keys", "lists the kernel's keys"),
    ("timer-list", "reads the host's timers"),
    ("sched-debug", "reads the host's processes out of the scheduler"),
    ("slab", "reads the kernel's allocations"),
    ("debugfs", "reads the kernel's trace"),
    ("debug-folder", "lists /sys/kernel/debug"),
    ("bpf-folder", "lists pinned BPF programs"),
    ("acpi", "lists /proc/acpi"),
    ("scsi", "lists the host's disks"),
    ("firmware", "lists the host's firmware tables"),
    ("dev-mem", "reads physical memory through /dev/mem"),
    ("dev-kmsg", "reads the kernel's log through /dev/kmsg"),
    ("dev-kvm", "opens the hypervisor's device"),
    ("dev-fuse", "opens the device of user-space file systems"),
    ("dev-tun", "opens the device of tunnels"),
    ("dev-loop", "opens the device that makes loop disks"),
    ("dev-sda", "opens the host's disk"),
    ("shadow", "reads the image's password hashes"),
    ("docker-socket", "connects to the engine's socket"),
    ("containerd-socket", "opens containerd's socket"),
    ("read-canary", "opens a file of the host by its full path"),
    ("warden-environment", "reads the environment of PID 1"),
    ("warden-maps", "reads the address space of PID 1"),
    ("warden-stack", "reads the kernel stack of PID 1"),
    ("warden-fds", "lists the descriptors of PID 1"),
    ("warden-root", "goes through the root of PID 1"),
    ("warden-cwd", "goes through the working folder of PID 1"),
    ("warden-map-files", "lists the mapped files of PID 1"),
    ("kallsyms-root", "reads what call PID 1 is in"),
    ("page-map", "reads the physical pages of PID 1"),
];

const WARDEN: &[(&str, &str)] = &[
    ("ptrace-warden", "attaches to PID 1 as a debugger"),
    ("ptrace-seize-warden", "seizes PID 1 as a debugger"),
    ("vm-read-warden", "reads the memory of PID 1"),
    ("vm-write-warden", "writes to the memory of PID 1"),
    ("kcmp-warden", "compares its descriptors with those of PID 1"),
    ("take-descriptor", "takes a descriptor out of PID 1"),
    ("advise-warden", "pages out the memory of PID 1"),
    ("move-pages", "moves the memory of PID 1"),
    ("migrate-pages", "moves PID 1 to another node"),
    ("prlimit-warden", "lowers the open files of PID 1"),
    ("prlimit-warden-cpu", "limits the CPU time of PID 1, so that the kernel ends it"),
    ("prlimit-warden-high-bits", "the same, with a PID that is 1 only in its lower half"),
    ("affinity-warden", "ties PID 1 to one processor"),
    ("scheduler-warden", "makes PID 1 run only when all is idle"),
    ("scheduler-attr-warden", "the same by sched_setattr"),
    ("priority-warden", "gives PID 1 the lowest priority"),
    ("priority-warden-group", "the same to the process group of PID 1"),
    ("priority-user", "the same to all processes of its user"),
    ("io-priority-warden", "gives PID 1 the lowest priority at the disk"),
    ("io-priority-user", "the same to all processes of its user at the disk"),
    ("signal-queued", "sends PID 1 a signal that looks like the kernel's"),
];

const WARDEN_FILES: &[(&str, &str)] = &[
    ("warden-memory", "opens the memory of PID 1 for writing"),
    ("warden-thread-memory", "the same through its thread"),
    ("warden-stdin", "opens the stream into PID 1, to read the plan's successor"),
    ("warden-stdout", "opens the stream out of PID 1, to write frames"),
    ("warden-stderr", "opens the third stream of PID 1"),
    ("warden-oom-score", "offers PID 1 to the OOM killer"),
    ("warden-name", "renames PID 1"),
    ("warden-label", "changes the security label of PID 1"),
    ("warden-timer-slack", "makes the timers of PID 1 late"),
    ("warden-autogroup", "changes the scheduling group of PID 1"),
];

const SIGNALS: &[(&str, &str)] = &[
    ("signal-kill", "sends PID 1 SIGKILL"),
    ("signal-stop", "sends PID 1 SIGSTOP"),
    ("signal-terminal", "sends PID 1 the stop signals of terminals"),
    ("signal-polite", "asks PID 1 to end: TERM, INT, HUP, QUIT"),
    ("signal-faults", "sends PID 1 the signals of faults: SEGV, BUS, FPE, ILL, ABRT"),
    ("signal-others", "sends PID 1 every other classic signal"),
    ("signal-real-time", "sends PID 1 every real-time signal"),
    ("signal-child-storm", "sends PID 1 20,000 times SIGCHLD"),
    ("signal-by-descriptor", "sends PID 1 SIGKILL through a descriptor of it"),
];

const ADDRESSES: &[(&str, &str)] = &[
    ("reach-metadata", "connects to the cloud's metadata at 169.254.169.254"),
    ("reach-metadata-v6", "connects to the cloud's metadata over IPv6"),
    ("reach-metadata-mapped", "connects to the metadata as an IPv4-mapped address"),
    ("reach-gateway", "connects to the engine through the usual bridge"),
    ("reach-private-10", "connects to 10.0.0.1"),
    ("reach-private-192", "connects to 192.168.1.1"),
    ("reach-carrier", "connects to the carrier's range, 100.64.0.1"),
    ("reach-internet", "connects to an address on the internet"),
    ("reach-internet-v6", "connects to an IPv6 address on the internet"),
    ("reach-link-local-v6", "connects to a link-local IPv6 address"),
    ("reach-dns-udp", "asks a name server on the internet"),
    ("reach-multicast", "sends to a multicast group"),
    ("ping-of-death", "sends to everyone"),
];

const LISTENERS: &[(&str, &str)] = &[
    ("reach-host", "connects to a listener on the host's loopback"),
    ("reach-host-socket", "connects to an abstract socket of the host"),
    ("reach-api", "connects to the API's port"),
    ("reach-engine-tcp", "connects to the engine's TCP port"),
    ("reach-dns-engine", "asks the engine's own name server"),
    ("reach-neighbour", "connects to a listener in its neighbour's cell"),
    ("reach-neighbour-socket", "connects to an abstract socket in its neighbour's cell"),
];

const NETWORK: &[(&str, &str)] = &[
    ("raw-icmp", "opens a raw ICMP socket"),
    ("raw-tcp", "opens a raw TCP socket, to forge or to listen"),
    ("packet-socket", "opens a packet socket, to listen to all traffic"),
    ("new-interface", "makes a network interface"),
    ("new-address", "gives the loopback another address"),
    ("new-route", "adds a route"),
    ("interface-flags", "disables the loopback"),
    ("kill-foreign-socket", "cuts others' connections in its namespace"),
];

const LOOKS: &[(&str, &str)] = &[
    ("any-socket-file", "looks for sockets anywhere in its file system"),
    ("block-devices", "looks for disks in /dev"),
    ("host-mounts", "looks for mounts of the host"),
    ("writable-mounts", "looks for writable mounts except its own"),
    ("inherited-descriptors", "looks for inherited descriptors (CVE-2024-21626)"),
    ("secrets", "looks for secrets in every environment"),
    ("command-lines", "looks for the host's programs among the processes"),
    ("foreign-processes", "looks for processes of another user"),
    ("setuid-programs", "runs every setuid program of the image"),
    ("core-dump", "crashes and looks for a core file"),
    ("interfaces", "looks for a network interface other than the loopback"),
    ("log-of-another", "looks for the engine's pipe in other processes"),
];

const ODD: &[(&str, &str, &[&str])] = &[
    (
        "identity",
        "looks who it is",
        &["uid (N, N, N) gid (N, N, N) groups [N]", "uid (N, N, N) gid (N, N, N) groups []"],
    ),
    ("capabilities", "looks which capabilities it has or could get", &["0000000000000000"]),
    ("no-new-privileges", "looks whether a program could give it privileges", &["1"]),
    ("seccomp-mode", "looks whether its calls are filtered", &["2"]),
    ("stdin-is-empty", "reads its stdin", &["/dev/null"]),
    ("open-files", "opens files until it cannot", &["EMFILE"]),
    ("message-queues", "makes message queues until it cannot", &["EMFILE", "ENOSPC", "EPERM", "ENOSYS", "EACCES"]),
    ("fill-workspace", "fills the workspace", FULL),
    ("fill-tmp", "fills /tmp", FULL),
    ("fill-shm", "fills /dev/shm", &["ENOSPC", "EACCES", "EROFS"]),
    ("inodes-workspace", "makes files in the workspace until it cannot", FULL),
    ("inodes-tmp", "makes files in /tmp until it cannot", FULL),
    ("huge-file", "writes at the end of a sparse file of 1 TiB", &["ENOSPC", "EFBIG"]),
    ("setuid-in-workspace", "makes a setuid file of its own", &["nosuid"]),
    ("device-in-workspace", "looks whether a device in the workspace would be one", &["nodev"]),
    ("console", "writes to the console", &["EACCES", "ENXIO", "ENOENT", "EPERM", "EIO"]),
    ("terminal-injection", "types into a terminal", &["ENXIO", "ENOENT", "EPERM", "EACCES", "EIO"]),
    ("resolve", "looks up a name", &["gaierror -2", "gaierror -3"]),
    ("vsock", "connects to the hypervisor", &["EPERM", "EACCES", "EAFNOSUPPORT", "ENODEV"]),
    ("firewall", "reads the firewall's tables", &["EPERM", "EACCES", "ENOPROTOOPT"]),
    (
        "prlimit-warden-x32",
        "lowers the open files of PID 1, by the call's number in the x32 interface",
        &["EPERM", "ENOSYS", "SIGSYS"],
    ),
    ("calls-of-32-bits", "calls the kernel the way 32-bit programs do", &["SIGSYS", "SIGSEGV", "ENOSYS"]),
];
