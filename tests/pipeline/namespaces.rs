//! Network namespaces are used by one run after another, and no run feels another: DESIGN, berths; FAILURES 33b.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::adoption::wrote;
use crate::harness::id_of;
use crate::site::{Setup, Site};
use crate::templates::{APP, judged};

/// Everything that a cell can read of its network namespace, its mounts and its keys.
const LOOK: &str = r#"
import json, os, socket
seen = {'hostname': socket.gethostname()}
def read(path):
    try:
        return open(path, errors='replace').read()
    except OSError as error:
        return type(error).__name__
for root in ('/proc/self/net', '/proc/sys/net'):
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            seen[path] = read(path)
for path in ('/proc/self/mounts', '/proc/keys', '/proc/key-users', '/etc/hosts', '/etc/resolv.conf'):
    seen[path] = read(path)
for path in ('/dev/shm', '/tmp', '/dev/mqueue'):
    names = sorted(os.listdir(path)) if os.path.isdir(path) else []
    # The warden has made a folder for this run's own temporary files.
    seen[path] = repr([name for name in names if os.path.join(path, name) != os.environ['TMPDIR']])
seen['sysvipc'] = [read('/proc/sysvipc/' + name) for name in ('shm', 'sem', 'msg')]
seen['interfaces'] = socket.if_nameindex()
print(json.dumps(seen))
"#;

/// Leaves as much in its namespace as code in a cell can: sockets in TIME_WAIT on both ends of many ports, half-closed and
/// unaccepted connections, counters of errors, abstract sockets, datagrams that nobody reads.
pub const LITTER: &str = r#"
import socket, os
# The warden asks port 8000 whether it is ready, and may be accepted in place of the own connection.
socket.setdefaulttimeout(0.5)
for port in (8000, 8001, 80, 443, 32768, 40000):
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(('127.0.0.1', port))
    listening.listen()
    for _ in range(8):
        there = socket.create_connection(('127.0.0.1', port))
        here, _ = listening.accept()
        # Who closes first waits.
        here.close()
        try:
            there.recv(1)
        except OSError:
            pass
        there.close()
    for _ in range(4):
        socket.create_connection(('127.0.0.1', port)).close()
for port in range(9000, 9020):
    try:
        socket.create_connection(('127.0.0.1', port))
    except OSError:
        pass
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('127.0.0.1', 5353))
for _ in range(2000):
    udp.sendto(b'x' * 1000, ('127.0.0.1', 5353))
for _ in range(10):
    udp.sendto(b'x', ('127.0.0.1', 5354))
abstract = socket.socket(socket.AF_UNIX)
abstract.bind('\0left-behind')
abstract.listen()
if os.fork() == 0:
    import time
    time.sleep(60)
"#;

/// A service that does not ask for its port to be reused, as most services that students write.
const INSISTS: &str = r#"
import socket
listening = socket.socket()
listening.bind(('127.0.0.1', 8000))
listening.listen()
abstract = socket.socket(socket.AF_UNIX)
abstract.bind('\0left-behind')
"#;

async fn facts(site: &Site) -> BTreeMap<String, Value> {
    let run = site.run("python", &[("run.py", LOOK)]).await;
    assert_eq!(run["score"], 1.0, "{run}");
    serde_json::from_str(&site.text(id_of(&run), "").await).unwrap()
}

/// A line as far as it is the namespace's own. Dropped is what names this cell or this kernel object, and what is
/// counted for the whole host, whichever namespace it is read in: memory of protocols, packets of each processor,
/// routes. SECURITY.md says so.
fn own(path: &str, line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let kept = match path.rsplit('/').next().unwrap() {
        "softnet_stat" | "protocols" | "rt_cache" | "arp_cache" | "ndisc_cache" => return None,
        // Orphans, allocated sockets and memory are the host's; sockets in use and in TIME_WAIT are not.
        "sockstat" if words[0] == "TCP:" => [&words[..3], &words[5..7]].concat(),
        "sockstat" if words[0] == "UDP:" => words[..3].to_vec(),
        // The kernel's own sockets, one for each protocol: an address and an inode.
        "netlink" => words[1..words.len() - 1].to_vec(),
        // The layers of the cell's own root.
        "mounts" if words[0] == "overlay" => words[..3].to_vec(),
        "hostname" => return None,
        _ => words,
    };
    Some(kept.join(" "))
}

/// Path and line of all that differs.
fn differences(first: &BTreeMap<String, Value>, last: &BTreeMap<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for path in first.keys().chain(last.keys().filter(|path| !first.contains_key(*path))) {
        let lines = |facts: &BTreeMap<String, Value>| -> Vec<String> {
            let text = facts.get(path).map_or_else(
                || "is not there".to_owned(),
                |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            );
            text.lines().filter_map(|line| own(path, line)).collect()
        };
        let (mut before, mut after) = (lines(first), lines(last));
        // Tables of sockets are in the order of addresses.
        before.sort_unstable();
        after.sort_unstable();
        if before != after {
            found.push(format!("{path}:\n  {}\n  {}", before.join("\n  "), after.join("\n  ")));
        }
    }
    found
}

#[tokio::test]
async fn nothing_that_a_cell_can_read_differs_between_the_first_and_the_hundredth_run_in_its_berth() {
    /// Runs in each of the worker's two berths between the two looks.
    const RUNS: usize = 100;
    let site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let first = facts(&site).await;
    /// What one user may have in the queue is more.
    const AT_ONCE: usize = 10;
    for _ in 0..RUNS * 2 / AT_ONCE {
        let submitting = (0..AT_ONCE).map(|_| site.submit("python", &[("run.py", LITTER)]));
        for run in futures_util::future::join_all(submitting).await {
            assert_eq!(site.ended(run).await["score"], 1.0, "{}", site.text(run, "").await);
        }
    }
    // The berths take turns, so one of the next few is the first one's.
    let mut last = facts(&site).await;
    for _ in 0..8 {
        if last["hostname"] == first["hostname"] {
            break;
        }
        last = facts(&site).await;
    }
    assert_eq!(last["hostname"], first["hostname"], "the berth was replaced");
    let different = differences(&first, &last);
    assert!(different.is_empty(), "{}", different.join("\n"));
    let unix = last["/proc/self/net/unix"].as_str().unwrap();
    assert_eq!(unix.lines().count(), 1, "{unix}");
}

#[tokio::test]
async fn a_service_that_insists_on_its_port_starts_after_any_other_run() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    for _ in 0..4 {
        // As many as there are berths.
        for run in
            [site.submit("python", &[("run.py", LITTER)]).await, site.submit("python", &[("run.py", LITTER)]).await]
        {
            assert_eq!(site.ended(run).await["score"], 1.0, "{}", site.text(run, "").await);
        }
        for run in
            [site.submit("python", &[("run.py", INSISTS)]).await, site.submit("python", &[("run.py", INSISTS)]).await]
        {
            assert_eq!(site.ended(run).await["score"], 1.0, "{}", site.text(run, "").await);
        }
    }
}

/// Each namespace that a text names, in order; lines of two cells may run into one another.
fn namespaces(text: &str) -> Vec<&str> {
    text.split("net:[").skip(1).filter_map(|rest| rest.split_once(']')).map(|(inode, _)| inode).collect()
}

const NAMESPACE: &str = "import os; print(os.readlink('/proc/self/ns/net'), flush=True)";

#[tokio::test]
async fn subject_and_driver_share_one_namespace_and_no_two_runs_do() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let app = format!("{NAMESPACE}\n{APP}");
    let mut before = Vec::new();
    for _ in 0..6 {
        let judge = judged(NAMESPACE);
        let run = site.run("service", &[("app.py", &app), ("judge.py", &judge)]).await;
        assert_eq!(run["score"], 1.0, "{run}");
        let text = site.text(id_of(&run), "").await;
        let seen = namespaces(&text);
        assert!(seen.len() == 2 && seen[0] == seen[1], "{text}");
        before.push(seen[0].to_owned());
    }
    // The kernel gives the number of a namespace that is gone again, but not the next time at once.
    assert!(before.windows(2).all(|pair| pair[0] != pair[1]), "{before:?}");
}

#[tokio::test]
async fn a_driver_that_is_made_after_an_adoption_is_in_the_namespace_of_its_subject() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    let app = format!("import time\n{NAMESPACE}\nprint('soon', flush=True)\ntime.sleep(0.6)\n{APP}");
    let judge = judged(NAMESPACE);
    let run = site.submit("service", &[("app.py", &app), ("judge.py", &judge)]).await;
    wrote(&site, run, "soon").await;
    site.take_worker().kill();
    site.start_worker();
    let ended = site.ended(run).await;
    assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(1), Some(1.0)), "{ended}");
    let text = site.text(run, "").await;
    let seen = namespaces(&text);
    assert!(seen.len() == 2 && seen[0] == seen[1], "{text}");
}
