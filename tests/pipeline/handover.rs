//! The grader's tests in a cell that they share with the project: they come after the build, and nobody but the warden
//! writes to them. The kernel must have Landlock (Linux 6.2).

use crate::adoption::wrote;
use crate::harness::id_of;
use crate::site::{Setup, Site, failure, message, shared};

#[tokio::test]
async fn the_build_sees_nothing_of_the_tests_and_nothing_of_it_meets_them() {
    let site = shared();
    let files = [
        ("install.sh", "exec 2>&-; ls -A /grader; (echo > /grader/check.sh); echo installed"),
        ("build.sh", "exec 2>&-; ls -A /grader; mkdir /grader/x; ln -s /tmp /grader/y; chmod 0 /grader; echo built"),
        ("run.sh", "ls /grader; sh /grader/check.sh; stat -c %a /grader/check.sh"),
    ];
    let run = site.run("handed", &files).await;
    assert_eq!(run["score"], 1.0, "{run}");
    assert_eq!(site.text(id_of(&run), "").await, "installed\nbuilt\nassize.json\ncheck.sh\nchecked\n644\n");
}

#[tokio::test]
async fn what_the_build_has_used_up_where_the_tests_go_is_the_submissions_fault() {
    let site = shared();
    let fill = "python3 -c '
import os
for size in (60000, 4000, 200, 1):
    try:
        for n in range(100000):
            os.setxattr(\"/grader\", f\"user.{size}.{n}\", b\"x\" * size)
    except OSError:
        pass'";
    let run = site.run("beside", &[("build.sh", fill), ("app.py", "")]).await;
    let (status, _, cause) = failure(&run);
    assert_eq!((status, cause), ("failed", "submission"), "{run}");
    assert!(message(&run).contains("have used up what /grader has room for"), "{run}");
}

#[tokio::test]
async fn tests_beside_a_service_are_there_before_it_is_and_it_cannot_write_to_them() {
    let site = shared();
    let app = format!(
        "import os\nprint(sorted(os.listdir('/grader')))\nfor name in ('check.sh', 'new'):\n    try:\n        \
         open('/grader/' + name, 'w').write('exit 1')\n        print('wrote', name)\n    except PermissionError:\n        \
         pass\n{}",
        crate::templates::APP
    );
    let run = site.run("beside", &[("build.sh", "ls -A /grader; echo built"), ("app.py", &app)]).await;
    assert_eq!(run["score"], 1.0, "{run}");
    let text = site.text(id_of(&run), "").await;
    assert!(text.starts_with("built\n['assize.json', 'check.sh']\n") && text.contains("checked\n"), "{text}");
    assert!(!text.contains("wrote"), "{text}");
}

#[tokio::test]
async fn shared_tests_have_a_home_that_is_not_the_projects() {
    let site = shared();
    let files = [
        ("install.sh", "echo $HOME $TMPDIR; mkdir -p .config; touch .config/x .npmrc /tmp/left"),
        ("build.sh", "true"),
        (
            "run.sh",
            "[ $HOME = $TMPDIR ] && [ $HOME != /workspace ] && [ $HOME != /tmp ] && ls -A $HOME && touch $HOME/x",
        ),
    ];
    let run = site.run("handed", &files).await;
    assert_eq!(run["score"], 1.0, "{run}");
    assert_eq!(site.text(id_of(&run), "").await, "/workspace /tmp\n");
}

#[tokio::test]
async fn an_adopted_cell_gets_its_tests_like_any_other() {
    let mut site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    for killed_in in ["install", "build", "tests"] {
        let stage = |name: &str| format!("echo {name} begins; sleep 1.2; ls -A /grader");
        let (install, build, tests) = (stage("install"), stage("build"), stage("tests") + "; sh /grader/check.sh");
        let files = [("install.sh", install.as_str()), ("build.sh", &build), ("run.sh", &tests)];
        let run = site.submit("handed", &files).await;
        wrote(&site, run, &format!("{killed_in} begins")).await;
        site.take_worker().kill();
        site.start_worker();
        let ended = site.ended(run).await;
        assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(1), Some(1.0)), "{ended}");
        let text = "install begins\nbuild begins\ntests begins\nassize.json\ncheck.sh\nchecked\n";
        assert_eq!(site.text(run, "").await, text, "killed in {killed_in}");
    }
}

/// What ordinary programs do with files, where they may.
const ORDINARY: &str = r"
import mmap, multiprocessing, os, shutil, socket, sqlite3, subprocess, tempfile
from multiprocessing import shared_memory
def double(n): return 2 * n
if __name__ == '__main__':
    with multiprocessing.Pool(2) as pool: assert pool.map(double, [1, 2]) == [2, 4]
    block = shared_memory.SharedMemory(create=True, size=4096); block.buf[0] = 1; block.close(); block.unlink()
    for root in ('/workspace', '/tmp', '/dev/shm'):
        at = tempfile.mkdtemp(dir=root)
        for name in ('one', 'two', 'gone'): os.mkdir(f'{at}/{name}')
        open(f'{at}/one/f', 'w').write('x' * 5000)
        os.rename(f'{at}/one/f', f'{at}/two/f'); os.link(f'{at}/two/f', f'{at}/one/g')
        os.replace(f'{at}/two', f'{at}/gone/two'); os.symlink('one/g', f'{at}/link')
        os.truncate(f'{at}/link', 4096); os.mkfifo(f'{at}/fifo'); os.chmod(f'{at}/one/g', 0o600); os.utime(f'{at}/link')
        with open(f'{at}/one/g', 'r+b') as file: mmap.mmap(file.fileno(), 4096)[0] = 1
        listening = socket.socket(socket.AF_UNIX); listening.bind(f'{at}/socket'); listening.listen()
        socket.socket(socket.AF_UNIX).connect(f'{at}/socket')
        base = sqlite3.connect(f'{at}/base'); base.execute('pragma journal_mode=wal'); base.execute('create table t (x)')
        base.commit(); base.close()
        shutil.rmtree(at)
    open('/workspace/moved', 'w').close(); shutil.move('/workspace/moved', '/tmp/moved')
    open('/dev/null', 'w').write('x'); open('/proc/self/comm', 'w').write('named'); open('/proc/self/oom_score_adj', 'w').write('1000')
    os.memfd_create('m'); subprocess.run('echo > /proc/self/fd/1', shell=True, check=True, stdout=subprocess.PIPE)
    master, slave = os.openpty(); os.write(slave, b'x')
    print('all of it works')
";

#[tokio::test]
async fn ordinary_programs_work_where_they_may_write() {
    let site = shared();
    let run = site.run("python", &[("run.py", ORDINARY)]).await;
    assert_eq!(site.text(id_of(&run), "").await, "all of it works\n");
    assert_eq!(run["score"], 1.0, "{run}");
}
