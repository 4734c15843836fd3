//! The limits of cells: each is tried before a worker claims, and one that does not hold stops it.

use std::path::Path;

use assize::maintenance::{process, stale_cgroups};
use assize_cell::counters::Cgroups;
use assize_cell::slice::Slice;
use assize_cell::unenforced::{self, LIMITS};
use assize_cell::{Engine, berth};
use assize_config::Config;
use futures_util::future::join;
use serde_json::{Value, json};

use crate::harness::gate::Gate;
use crate::harness::id_of;
use crate::harness::processes::{Process, assize};
use crate::site::{RUN, Setup, Site, failure, message, shared};
use crate::templates;

/// System calls of x86-64 by number, as the kernel's table has it, with arguments that change nothing.
const CALLS: &str = r"
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
ALL = (1 << 64) - 1
def tried(number, *arguments):
    ctypes.set_errno(0)
    padded = [ctypes.c_ulong(a & ALL) for a in arguments] + [ctypes.c_ulong(0)] * (6 - len(arguments))
    result = libc.syscall(ctypes.c_long(number), *padded)
    if result == 0 and number in (56, 435) and os.getpid() != first:
        os._exit(0)
    return ctypes.get_errno() if result == -1 else 'allowed'
first = os.getpid()
calls = {
    'io_uring_setup': (425, 8), 'io_uring_enter': (426, -1), 'io_uring_register': (427, -1),
    'userfaultfd': (323, 1), 'bpf': (321, 0), 'perf_event_open': (298, 0, 0, -1, -1, 0),
    'keyctl': (250, 0, -3), 'add_key': (248,), 'request_key': (249,),
    'unshare user': (272, 0x10000000), 'unshare net': (272, 0x40000000), 'unshare mnt': (272, 0x20000),
    'unshare pid': (272, 0x20000000), 'unshare nothing': (272, 0), 'setns': (308, -1),
    'clone user': (56, 0x10000011), 'clone net': (56, 0x40000011), 'clone pid': (56, 0x20000011),
    'clone mnt': (56, 0x20011), 'clone uts': (56, 0x04000011), 'clone ipc': (56, 0x08000011),
    'clone cgroup': (56, 0x02000011),
    'mount': (165,), 'umount2': (166,), 'pivot_root': (155,), 'chroot': (161,), 'open_tree': (428, -1),
    'move_mount': (429, -1), 'fsopen': (430,), 'fsconfig': (431, -1), 'fsmount': (432, -1), 'fspick': (433, -1),
    'mount_setattr': (442, -1), 'name_to_handle_at': (303, -1), 'open_by_handle_at': (304, -1),
    'fanotify_init': (300,), 'fanotify_mark': (301, -1),
    'ptrace traceme': (101, 0), 'ptrace attach': (101, 16, 1), 'ptrace seize': (101, 0x4206, 1),
    'process_vm_readv': (310, first), 'process_vm_writev': (311, first), 'process_madvise': (440, -1),
    'kcmp': (312, first, first), 'pidfd_getfd': (438, -1),
    'mbind': (237,), 'set_mempolicy': (238,), 'get_mempolicy': (239,), 'migrate_pages': (256,), 'move_pages': (279,),
    'packet': (41, 17, 3, 0), 'packet dgram': (41, 17, 2, 0), 'raw icmp': (41, 2, 3, 1), 'raw tcp': (41, 2, 3, 6),
    'raw icmp6': (41, 10, 3, 58), 'ping': (41, 2, 2, 1), 'sctp': (41, 2, 1, 132), 'dccp': (41, 2, 6, 33),
    'mptcp': (41, 2, 1, 262), 'netfilter': (41, 16, 3, 12), 'xfrm': (41, 16, 3, 6), 'alg': (41, 38, 5, 0),
    'vsock': (41, 40, 1, 0), 'bluetooth': (41, 31, 3, 1), 'can': (41, 29, 3, 1), 'tipc': (41, 30, 1, 0),
    'xdp': (41, 44, 3, 0), 'tipc pair': (53, 30, 1, 0),
    'char device': (259, -100, 0, 0x2000), 'block device': (259, -100, 0, 0x6000), 'mknod': (133, 0, 0x2000),
    'no randomisation': (135, 0x40000), 'read implies exec': (135, 0x400000), 'linux32': (135, 8),
    'init_module': (175,), 'finit_module': (313, -1), 'delete_module': (176,), 'kexec_load': (246,),
    'kexec_file_load': (320, -1), 'reboot': (169,), 'swapon': (167,), 'swapoff': (168,), 'acct': (163,),
    'quotactl': (179,), 'syslog': (103, 10), 'sethostname': (170,), 'setdomainname': (171,),
    'settimeofday': (164,), 'clock_settime': (227,), 'clock_adjtime': (305,), 'adjtimex': (159,), 'vhangup': (153,),
    'iopl': (172,), 'ioperm': (173,), 'modify_ldt': (154,), 'remap_file_pages': (216,), 'sysfs': (139, 3),
    'ustat': (136,), 'uselib': (134,), 'lookup_dcookie': (212,), 'no such call': (600,),
    'clone3': (435, 0, 0),
}
allowed = {
    'clone': lambda: (lambda child: os.waitpid(child, 0) if child else os._exit(0))(os.fork()),
    'fifo': lambda: os.mkfifo('/tmp/fifo'), 'personality': lambda: tried(135, 0xFFFFFFFF) == 'allowed' or 1 / 0,
    'unix pair': lambda: __import__('socket').socketpair(),
    'interfaces': lambda: __import__('socket').if_nameindex(),
    'names': lambda: __import__('socket').getaddrinfo('127.0.0.1', 80),
    'threads': lambda: __import__('threading').Thread(target=print).start(),
    'processes': lambda: __import__('multiprocessing').get_context('fork').Pool(1).map(abs, [1]),
}
def works(what):
    try:
        what()
        return True
    except Exception as error:
        return repr(error)
found = {name: tried(*call) for name, call in calls.items()}
print(json.dumps({'denied': found, 'works': {name: works(what) for name, what in allowed.items()}}))
";

#[tokio::test]
#[cfg(target_arch = "x86_64")]
async fn every_denied_call_says_eperm_and_clone3_is_missing() {
    const EPERM: i32 = 1;
    const ENOSYS: i32 = 38;
    let site = shared();
    let run = site.run("python", &[("run.py", CALLS)]).await;
    let said = site.text(id_of(&run), "").await;
    assert_eq!(run["score"], 1.0, "{run} {said}");
    let facts: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let denied = facts["denied"].as_object().unwrap();
    assert!(denied.len() > 90, "{}", denied.len());
    for (name, errno) in denied {
        // A call that no kernel has is none of the filter's: the runtime says so, or the kernel.
        let expected = if ["clone3", "no such call"].contains(&name.as_str()) { ENOSYS } else { EPERM };
        assert_eq!(errno, &json!(expected), "{name}");
    }
    for (name, works) in facts["works"].as_object().unwrap() {
        assert_eq!(works, &json!(true), "{name}");
    }
}

fn engine_config() -> Config {
    let warden = Path::new(env!("CARGO_BIN_EXE_assize")).with_file_name("assize-warden");
    let instance = format!("t{}", uuid::Uuid::now_v7().simple());
    Config { instance, warden_path: warden, ..Config::default() }
}

#[tokio::test]
async fn every_limit_has_a_name_and_holds_on_this_host() {
    let config = engine_config();
    let engine = Engine::connect(&config).await.unwrap();
    let cgroups = Cgroups::detect(&engine).await.unwrap();
    let slice = Slice::open(&engine, &cgroups, &config).await.unwrap();
    slice.set().await.unwrap();
    let worker = process::process_id();
    let found = unenforced::try_all(&engine, &slice, &cgroups, &worker, berth::BERTH_IMAGE, &[None]).await;
    stale_cgroups::remove_parents(&cgroups);
    let found = found.unwrap();
    for finding in &found {
        assert!(finding.ok, "{finding:?}");
    }
    let mut names: Vec<&str> = found.iter().map(|finding| finding.check.as_str()).collect();
    let mut expected: Vec<&str> = LIMITS.to_vec();
    expected.extend(engine.confinement.expected.is_some().then_some(unenforced::APPARMOR));
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

/// What the engine is made to believe, and the limits that do not hold then. Both texts are of one length.
const LIES: &[(&str, &str, &[&str])] = &[
    (r#""PidsLimit":24"#, r#""PidsLimit":-1"#, &["pids"]),
    (r#""ReadonlyRootfs":true"#, r#""ReadonlyRootfs":null"#, &["rootfs"]),
    (r#""CapDrop":"#, r#""XapDrop":"#, &["capabilities"]),
    (r#""no-new-privileges:true","#, r#""no-new-privileges:f"   ,"#, &["no_new_privs"]),
    (
        r#"defaultAction\":\"SCMP_ACT_ERRNO"#,
        r#"defaultAction\":\"SCMP_ACT_ALLOW"#,
        &["seccomp_io_uring", "seccomp_namespaces", "seccomp_trace", "seccomp_keys", "seccomp_numa"],
    ),
    (r#""Memory":50331648"#, r#""Memory":92274688"#, &["memory"]),
    (r#""MemorySwap":50331648"#, r#""MemorySwap":92274688"#, &[]),
    ("size=4194304,nr_inodes=100", "size=8388608,nr_inodes=200", &["workspace_bytes", "workspace_inodes"]),
    ("size=2097152", "size=4194304", &["tmp_bytes"]),
    (r#""ShmSize":16777216"#, r#""ShmSize":33554432"#, &["shm_bytes"]),
    (r#""nofile","Soft":4096,"Hard":4096"#, r#""nofile","Soft":8192,"Hard":8192"#, &["nofile"]),
    (r#""fsize","Soft":17825792,"Hard":17825792"#, r#""fsize","Soft":19922944,"Hard":19922944"#, &["fsize"]),
    (r#""memlock","Soft":65536,"Hard":65536"#, r#""memlock","Soft":99999,"Hard":99999"#, &["memlock"]),
    (r#""MaskedPaths":"#, r#""XaskedPaths":"#, &["masked"]),
    (r#""IpcMode":"private""#, r#""IpcMode":"host"   "#, &["namespaces"]),
    (r#""User":"10001:10001""#, r#""User":"10002:10001""#, &["uid"]),
    // Of a name that is no call's the engine makes nothing: that one is denied.
    ("landlock_restrict_self", "landlock_restrict_none", &["grader"]),
];

fn lies(limits: &[&str]) -> Vec<(&'static str, &'static str)> {
    let chosen = LIES.iter().filter(|(_, _, breaks)| breaks.iter().any(|limit| limits.contains(limit)));
    chosen.map(|(truth, lie, _)| (*truth, *lie)).collect()
}

fn worker(settings: &[(String, String)], arguments: &[&str]) -> Process {
    Process::start("assize worker", assize(settings).args(["worker", "--lifeline"]).args(arguments))
}

/// Whether a worker that was refused missed this limit, and not only one whose name ends like it.
fn missed(said: &str, limit: &str) -> bool {
    ["here: ", "; "].iter().any(|before| said.contains(&format!("{before}{limit} is to be: ")))
}

fn with(site: &Site, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let changes = changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    site.settings.iter().cloned().chain(changes).collect()
}

#[tokio::test]
async fn a_limit_that_does_not_hold_stops_the_worker_and_is_named() {
    let site = shared();
    // What undoes another lie, or what is looked at, is told apart.
    let apart: [&[&str]; 3] = [&["uid"], &["memory"], &["grader"]];
    let all: Vec<&str> = LIES.iter().flat_map(|(_, _, breaks)| breaks.iter().copied()).collect();
    let together: Vec<&str> = all.into_iter().filter(|limit| !apart.concat().contains(limit)).collect();
    for broken in std::iter::once(together.as_slice()).chain(apart) {
        let folder = tempfile::tempdir().unwrap();
        let mut told = lies(broken);
        if broken.contains(&"memory") {
            told.push((LIES[6].0, LIES[6].1));
        }
        let gate = Gate::lying(folder.path().join("docker.sock"), Path::new("/var/run/docker.sock"), &told);
        let docker_host = format!("unix://{}", gate.path.display());
        let mut refused = worker(&with(&site, &[("docker_host", &docker_host)]), &[]);
        let (code, said) =
            tokio::task::spawn_blocking(move || (refused.exit(RUN).code(), refused.output())).await.unwrap();
        assert_eq!(code, Some(5), "{broken:?}: {said}");
        for limit in broken {
            assert!(missed(&said, limit), "{limit} was not missed: {said}");
            assert!(said.contains(&format!("--allow-unenforced {limit}")), "{limit}: {said}");
        }
        for held in ["cpus", "devices", "core", "cells_memory", "cells_pids"] {
            assert!(!missed(&said, held), "{held} holds: {said}");
        }
    }
}

/// The network is not among the lies: whatever the engine puts a berth into, the berth leaves before a cell comes. Without
/// the right to do so there is no berth, and no worker.
#[tokio::test]
async fn a_worker_whose_berths_cannot_renew_themselves_does_not_begin() {
    let site = shared();
    let folder = tempfile::tempdir().unwrap();
    let lie = [(r#""CapAdd":["SYS_ADMIN""#, r#""CapAdd":["SYS_PACCT""#)];
    let gate = Gate::lying(folder.path().join("docker.sock"), Path::new("/var/run/docker.sock"), &lie);
    let docker_host = format!("unix://{}", gate.path.display());
    let mut refused = worker(&with(&site, &[("docker_host", &docker_host)]), &[]);
    let (code, said) = tokio::task::spawn_blocking(move || (refused.exit(RUN).code(), refused.output())).await.unwrap();
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("a sandbox container did not renew its network namespace"), "{said}");
}

#[tokio::test]
async fn what_the_engine_says_of_a_berths_network_does_not_reach_its_cells() {
    let folder = tempfile::tempdir().unwrap();
    let lie = [(r#""NetworkMode":"none""#, r#""NetworkMode":"host""#)];
    let gate = Gate::lying(folder.path().join("docker.sock"), Path::new("/var/run/docker.sock"), &lie);
    let settings = vec![("docker_host", format!("unix://{}", gate.path.display())), ("worker_slots", "1".to_owned())];
    let site = Site::start(Setup { settings, ..Setup::default() });
    let only_lo = "import socket; assert [name for _, name in socket.if_nameindex()] == ['lo']";
    assert_eq!(site.run("python", &[("run.py", only_lo)]).await["score"], 1.0);
}

#[tokio::test]
async fn a_limit_that_is_allowed_not_to_hold_is_told_for_as_long_as_the_worker_lives() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::lying(folder.path().join("docker.sock"), Path::new("/var/run/docker.sock"), &lies(&["pids"]));
    let settings = vec![
        ("docker_host", format!("unix://{}", gate.path.display())),
        ("worker_slots", "1".to_owned()),
        ("allow_unenforced_limits", "pids".to_owned()),
    ];
    let site = Site::start(Setup { settings, ..Setup::default() });
    let ready = || async { site.get("/readyz").send().await.unwrap().json::<Value>().await.unwrap() };
    site.until("/readyz says so", async || {
        let ready = ready().await;
        ready["ready"] == true && ready["degraded"] == json!(["the limit pids is not enforced for some cells"])
    })
    .await;
    let metrics = site.worker_metrics().await;
    assert!(metrics.contains("assize_limit_unenforced{limit=\"pids\"} 1"), "{metrics}");
    assert_eq!(site.run("script", &[("run.sh", "exit 0")]).await["score"], 1.0);
    let mut site = site;
    drop(site.take_worker());
    let ready = site.get("/readyz").send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(ready["degraded"], json!([]), "it went with its worker");
}

#[tokio::test]
async fn names_and_totals_that_make_no_sense_are_refused() {
    let site = shared();
    /// Settings, arguments, the exit code, and what the error must say.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], i32, &'a str);
    let wrong: [Case<'_>; 4] = [
        (&[], &["--allow-unenforced", "bids"], 2, "\"bids\""),
        (&[("allow_unenforced_limits", "pids,bids")], &[], 2, "there is: network, rootfs"),
        (&[("cells_memory_mib", "400")], &[], 5, "raise cells_memory_mib"),
        (&[("runtime", "no-such")], &[], 2, "the engine knows "),
    ];
    for (changes, arguments, code, words) in wrong {
        let mut refused = worker(&with(&site, changes), arguments);
        let (seen, said) =
            tokio::task::spawn_blocking(move || (refused.exit(RUN).code(), refused.output())).await.unwrap();
        assert_eq!(seen, Some(code), "{changes:?}: {said}");
        assert!(said.contains(words), "{changes:?}: {said}");
    }
}

#[tokio::test]
async fn a_runtime_that_the_engine_knows_runs_cells_named_by_setting_or_template() {
    let folder = tempfile::tempdir().unwrap();
    templates::write(folder.path());
    let file = folder.path().join("script/template.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("class = ", "runtime = \"io.containerd.runc.v2\"\nclass = ")).unwrap();
    let settings = vec![("runtime", "runc".to_owned()), ("worker_slots", "1".to_owned())];
    let templates_dir = Some(folder.path().to_owned());
    let site = Site::start(Setup { settings, templates_dir, ..Setup::default() });
    for (template, runtime) in [("script", "io.containerd.runc.v2"), ("long", "runc")] {
        let run = site.submit(template, &[("run.sh", "sleep 0.5; exit 0")]).await;
        site.reached(run, "running").await;
        let cell = site.cells(Some(run)).await.remove(0);
        let host = crate::site::docker().inspect_container(&cell, None).await.unwrap().host_config.unwrap();
        assert_eq!(host.runtime.as_deref(), Some(runtime));
        assert_eq!(site.ended(run).await["score"], 1.0);
    }
}

/// Holds about so many MB for two seconds.
fn hog(megabytes: u32) -> String {
    format!("head -c {megabytes}000000 /dev/zero | tail -c {megabytes}000000 | sleep 2; exit 0")
}

/// FAILURES 21, 30.
#[tokio::test]
async fn cells_that_are_too_much_together_are_stopped_and_it_is_nobodys_fault() {
    let folder = tempfile::tempdir().unwrap();
    templates::write(folder.path());
    for other in ["roomy", "python", "handing-much", "progress-pytest"] {
        std::fs::remove_dir_all(folder.path().join(other)).unwrap();
    }
    let file = folder.path().join("long/template.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("memory_mib = 48", "memory_mib = 160")).unwrap();
    let settings = vec![
        ("cells_memory_mib", "220".to_owned()),
        ("worker_slots", "1".to_owned()),
        ("pause_after_failures", "0".to_owned()),
    ];
    let templates_dir = Some(folder.path().to_owned());
    let site = Site::start(Setup { settings, templates_dir, ..Setup::default() });
    let (each, alone) = (hog(130), hog(220));
    let files = [("run.sh", each.as_str())];
    let (one, other) = join(site.run("long", &files), site.run("long", &files)).await;
    let mut attempts = 0;
    for run in [&one, &other] {
        assert_eq!(run["score"], 1.0, "{run}");
        for (attempt, _, code) in site.events(id_of(run)).await {
            attempts = attempts.max(attempt);
            assert!(code.is_none() || code.as_deref() == Some("cell_lost"), "{code:?} {run}");
        }
    }
    assert!(attempts > 1, "two cells of 130 MB were let have them below a total of 220 MiB");
    site.worker().wait_for("the host had no more memory for all cells");
    // Above its own limit it is the project's fault as before.
    let run = site.run("long", &[("run.sh", &alone)]).await;
    assert_eq!(failure(&run), ("failed", "out_of_memory", "submission"), "{run}");
    assert!(message(&run).contains("160 MiB"), "{run}");
}

/// The engine keeps the parent that it is given: its totals are the kernel's, and still there afterwards.
#[tokio::test]
async fn the_totals_of_a_worker_are_those_of_its_settings() {
    let settings = vec![
        ("cells_memory_mib", "2000".to_owned()),
        ("cells_pids", "3000".to_owned()),
        ("cells_cpu_weight", "50".to_owned()),
        ("worker_slots", "1".to_owned()),
    ];
    let site = Site::start(Setup { settings, ..Setup::default() });
    assert_eq!(site.run("script", &[("run.sh", "exit 0")]).await["score"], 1.0);
    let config = Config {
        instance: site.instance.clone(),
        warden_path: "/proc/self/exe".into(),
        cells_memory_mib: 2000,
        cells_pids: 3000,
        cells_cpu_weight: 50,
        ..Config::default()
    };
    let engine = Engine::connect(&config).await.unwrap();
    let cgroups = Cgroups::detect(&engine).await.unwrap();
    let slice = Slice::open(&engine, &cgroups, &config).await.unwrap();
    for finding in slice.findings() {
        assert!(finding.ok, "{finding:?}");
    }
    let seen: Vec<String> = slice.findings().into_iter().map(|finding| finding.seen).collect();
    assert_eq!(seen[..2], [(2000u64 << 20).to_string(), "3000".to_owned()]);
}
