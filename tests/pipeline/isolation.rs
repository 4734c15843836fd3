//! What code in a cell sees of the world: nothing.

use serde_json::Value;

use crate::harness::id_of;
use crate::site::{Setup, Site};
use crate::site::{containers, docker, redis_url, remove, shared};
use crate::templates::{APP, judged};

const FACTS: &str = r#"
import json, os, signal, socket
def tries(what):
    try:
        return repr(what())[:200]
    except OSError as error:
        return type(error).__name__
status = dict(line.split(':\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\t' in line)
def kill(number):
    os.kill(1, number)
facts = {
    'interfaces': [name for _, name in socket.if_nameindex()],
    'routes': open('/proc/net/route').read().splitlines()[1:],
    'uid': os.getuid(), 'gid': os.getgid(), 'groups': os.getgroups(),
    'cap_eff': status['CapEff'], 'cap_bnd': status['CapBnd'], 'no_new_privs': status['NoNewPrivs'],
    'seccomp': status['Seccomp'],
    'mounts': [line.split() for line in open('/proc/mounts')],
    'environment': dict(os.environ),
    'write_root': tries(lambda: open('/owned', 'w')),
    'write_etc': tries(lambda: open('/etc/owned', 'w')),
    'write_warden': tries(lambda: open('/.assize/warden', 'r+')),
    'environ_1': tries(lambda: open('/proc/1/environ').read()),
    'fd_1': tries(lambda: os.listdir('/proc/1/fd')),
    'stdout_1': tries(lambda: open('/proc/1/fd/1', 'wb')),
    'mem_1': tries(lambda: open('/proc/1/mem', 'rb')),
    'kill': tries(lambda: kill(signal.SIGKILL)), 'stop': tries(lambda: kill(signal.SIGSTOP)),
    'term': tries(lambda: kill(signal.SIGTERM)),
    'metadata': tries(lambda: socket.create_connection(('169.254.169.254', 80), 1)),
    'gateway': tries(lambda: socket.create_connection(('172.17.0.1', 22), 1)),
    'ipv6': tries(lambda: socket.create_connection(('2606:4700::1111', 443), 1)),
    'raw': tries(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
    'docker': os.path.exists('/var/run/docker.sock'),
    'processes': [name for name in os.listdir('/proc') if name.isdigit()],
    'fds': [os.readlink(f'/proc/self/fd/{fd}') for fd in range(3)],
}
print(json.dumps(facts))
"#;

fn mount<'a>(facts: &'a Value, at: &str) -> (&'a str, Vec<&'a str>) {
    let mounts = facts["mounts"].as_array().unwrap();
    let found = mounts.iter().find(|mount| mount[1] == at).unwrap_or_else(|| panic!("no mount at {at}: {mounts:?}"));
    (found[2].as_str().unwrap(), found[3].as_str().unwrap().split(',').collect())
}

#[tokio::test]
async fn a_project_sees_no_network_no_privilege_and_nothing_of_the_host() {
    let site = shared();
    let run = site.run("python", &[("run.py", FACTS)]).await;
    // That it ended with a verdict shows that neither KILL nor STOP reached PID 1.
    assert_eq!(run["score"], 1.0, "{run} {}", site.text(id_of(&run), "").await);
    let facts: Value = serde_json::from_str(&site.text(id_of(&run), "").await).unwrap();

    assert_eq!(facts["interfaces"], serde_json::json!(["lo"]));
    assert_eq!(facts["routes"], serde_json::json!([]));
    assert_eq!((facts["uid"].as_i64(), facts["gid"].as_i64()), (Some(10001), Some(10001)));
    assert!(facts["groups"] == serde_json::json!([]) || facts["groups"] == serde_json::json!([10001]), "{facts}");
    assert_eq!(
        (facts["cap_eff"].as_str(), facts["cap_bnd"].as_str()),
        (Some("0000000000000000"), Some("0000000000000000"))
    );
    assert_eq!((facts["no_new_privs"].as_str(), facts["seccomp"].as_str()), (Some("1"), Some("2")));
    for denied in ["write_root", "write_etc"] {
        // A read-only file system, or closed to this user besides.
        assert!(facts[denied] == "OSError" || facts[denied] == "PermissionError", "{denied}: {facts}");
    }
    for denied in ["write_warden", "environ_1", "fd_1", "stdout_1", "mem_1", "raw"] {
        assert_eq!(facts[denied], "PermissionError", "{denied}: {facts}");
    }
    for ineffective in ["kill", "stop", "term"] {
        assert!(facts[ineffective] == "None" || facts[ineffective] == "PermissionError", "{ineffective}: {facts}");
    }
    for unreachable in ["metadata", "gateway", "ipv6"] {
        assert_eq!(facts[unreachable], "OSError", "{unreachable}: {facts}");
    }
    assert_eq!(facts["docker"], false);
    assert_eq!(facts["processes"].as_array().unwrap().len(), 2, "{facts}");
    assert_eq!(facts["fds"][0], "/dev/null");

    let (kind, options) = mount(&facts, "/");
    assert!(options.contains(&"ro"), "{kind} {options:?}");
    for (at, size, inodes) in
        [("/workspace", "size=262144k", "nr_inodes=500"), ("/tmp", "size=16384k", "nr_inodes=500")]
    {
        let (kind, options) = mount(&facts, at);
        assert_eq!(kind, "tmpfs", "{at}");
        for option in [size, inodes, "nosuid", "nodev", "mode=700", "uid=10001"] {
            assert!(options.contains(&option), "{at} lacks {option}: {options:?}");
        }
    }
    let mut names: Vec<_> = facts["environment"].as_object().unwrap().keys().map(String::as_str).collect();
    names.retain(|name| *name != "LC_CTYPE");
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "PATH", "TMPDIR"]);
}

#[tokio::test]
async fn subject_and_driver_share_a_loopback_and_nothing_else() {
    let site = shared();
    let app = APP.replace("import http.server", "import http.server, os, json").replace(
        "http.server.test(",
        "class Facts(http.server.SimpleHTTPRequestHandler):\n\
         \x20   def do_GET(self):\n\
         \x20       if self.path != '/facts': return super().do_GET()\n\
         \x20       facts = {'processes': [open(f'/proc/{p}/cmdline').read() for p in os.listdir('/proc') if p.isdigit()],\n\
         \x20                'grader': os.listdir('/grader'), 'files': os.listdir('.'), 'tmp': os.listdir('/tmp')}\n\
         \x20       self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(facts).encode())\n\
         http.server.test(",
    ).replace("HandlerClass=http.server.SimpleHTTPRequestHandler", "HandlerClass=Facts");
    let judge = judged(
        "open('/workspace/secret', 'w'); open('/tmp/secret', 'w')\n\
         print(urllib.request.urlopen(url + '/facts').read().decode())\n\
         print(json.dumps({'processes': len([p for p in os.listdir('/proc') if p.isdigit()]),\n\
                           'workspace': os.listdir('/workspace'), 'grader': os.listdir('/grader')}))",
    );
    let run = site.run("service", &[("app.py", &app), ("judge.py", &judge)]).await;
    assert_eq!(run["score"], 1.0, "{run} {}", site.text(id_of(&run), "").await);
    let said = site.text(id_of(&run), "&stage=tests").await;
    let facts: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (subject, driver) = (&facts[0], &facts[1]);
    assert_eq!((&subject["grader"], &subject["tmp"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(subject["processes"].as_array().unwrap().len(), 2, "{subject}");
    assert!(!subject.to_string().contains("secret") && !subject.to_string().contains("driver.py"), "{subject}");
    assert_eq!(driver["grader"], serde_json::json!(["assize.json", "driver.py"]));
    assert_eq!(driver["workspace"], serde_json::json!(["secret"]));
    assert_eq!(driver["processes"], 2);
}

/// FAILURES 8.
#[tokio::test]
async fn a_container_of_another_owner_is_never_touched_and_none_of_ours_stays() {
    let foreign = format!("{}-other", uuid::Uuid::now_v7().simple());
    let labels = [("assize.instance".to_owned(), foreign.clone()), ("assize.worker".to_owned(), "gone-1-1".to_owned())];
    let body = bollard::models::ContainerCreateBody {
        image: Some("assize/base:1".to_owned()),
        cmd: Some(vec!["sleep".to_owned(), "120".to_owned()]),
        labels: Some(labels.into()),
        // It goes by itself, even if this test fails.
        host_config: Some(bollard::models::HostConfig {
            auto_remove: Some(true),
            network_mode: Some("none".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let id = docker().create_container(None, body).await.unwrap().id;
    docker().start_container(&id, None).await.unwrap();

    let slots = ("worker_slots", "1".to_owned());
    let mut site = Site::start(Setup { redis_url: Some(redis_url()), settings: vec![slots], ..Setup::default() });
    let run = site.run("script", &[("run.sh", "exit 0")]).await;
    site.take_worker().kill();
    let orphans = containers(&site.instance).await.len();
    site.start_worker();
    // Its own berths and nothing else, as soon as the engine is done with the last cell.
    site.until("only two berths stay", async || containers(&site.instance).await.len() == 2).await;
    let state = containers(&foreign).await;
    remove(&id).await;
    assert_eq!(run["score"], 1.0, "{run}");
    assert!(orphans >= 2, "the berths of the worker that is gone are among {orphans}");
    assert_eq!(state[0].id.as_deref(), Some(id.as_str()));
    assert!(format!("{:?}", state[0].state).to_lowercase().contains("running"), "{:?}", state[0].state);
}
