//! What a project does to the grader's folder, in the build and while the tests run.

use super::{GRADED, project};
use crate::case::{Case, Group};
use crate::trial::{Expectation, Trial};

/// A wrong answer to every question.
const WRONG: &str = "print('forged')\n";

/// Expected answers that would make the wrong answer right.
const FORGED: &str = r#"["forged", "forged", "forged"]"#;

/// Cases in the build: name, what is tried, the control, the script.
const BUILDS: &[(&str, &str, &str, &str)] = &[
    (
        "build-test",
        "the build writes the expected answers where the tests will be",
        "stages may not write there (Landlock), and tests are never merged with what is there",
        "cp forged.json /grader/expected.json; true",
    ),
    (
        "build-module",
        "the build puts a module beside the tests that stands in for one of theirs",
        "stages may not write there (Landlock), and tests are never merged with what is there",
        "cp json.py /grader/json.py; true",
    ),
    (
        "build-folder-link",
        "the build replaces the grader's folder by a link to its own",
        "the folder is a mount of its own in a read-only root",
        "mkdir own; cp forged.json own/expected.json; umount /grader; rmdir /grader; mv /grader /tmp/away; ln -sfn /workspace/own /grader; true",
    ),
    (
        "build-link",
        "the build puts a symbolic link to its own file where a test will be",
        "stages may not make links there (Landlock), and tests follow none",
        "ln -sf /workspace/forged.json /grader/expected.json; true",
    ),
    (
        "build-fifo",
        "the build puts a FIFO there, at which tests would wait for it",
        "stages may not make one there (Landlock), and tests are never merged with what is there",
        "mkfifo /grader/expected.json; true",
    ),
    (
        "build-root",
        "the build writes through /proc/self/root, /proc/1/root and a working folder",
        "the kernel checks the file that is reached, not the path",
        "cp forged.json /proc/self/root/grader/expected.json; cp forged.json /proc/1/root/grader/expected.json
         cd /grader; cp /workspace/forged.json /proc/self/cwd/expected.json; true",
    ),
    (
        "build-mount",
        "the build mounts its own folder over the grader's, and renames its own to it",
        "mount is denied (seccomp); the folder is a mount point",
        "mkdir own; cp forged.json own/expected.json; mount --bind own /grader; unshare -rm mount --bind own /grader
         python3 -c 'import os; os.rename(\"/workspace/own\", \"/grader\")'; true",
    ),
    (
        "build-daemon",
        "the build leaves a daemon in a session of its own that writes as soon as the tests are there",
        "every process of a stage is killed before the tests arrive",
        "setsid sh -c 'trap \"\" TERM HUP; : > up; while :; do [ -e /grader/expected.json ] && cp forged.json /grader/expected.json; done' &
         while [ ! -e up ]; do :; done",
    ),
    (
        "build-inotify",
        "the build leaves a process that inotify wakes when a test is made, and that then writes",
        "every process of a stage is killed before the tests arrive",
        "setsid python3 wait.py & while [ ! -e up ]; do :; done",
    ),
    (
        "build-chmod",
        "the build takes the mode of the grader's folder away",
        "the warden restores the owner's access before the tests arrive",
        "chmod 0 /grader; true",
    ),
    (
        "build-chmod-workspace",
        "the build takes the mode of the folder away that the tests begin in",
        "the warden restores the owner's access before each stage",
        "chmod 0 /workspace; true",
    ),
    (
        "build-acl",
        "the build gives the grader's folder a default ACL by which its files are closed to their owner",
        "the warden sets the mode of each file itself",
        "python3 -c 'import os, struct; e = lambda *a: struct.pack(\"<HHI\", *a)
os.setxattr(\"/grader\", \"system.posix_acl_default\", struct.pack(\"<I\", 2) + e(1, 0, 0xffffffff) + e(4, 0, 0xffffffff) + e(32, 0, 0xffffffff))'
true",
    ),
    (
        "build-attributes",
        "the build fills the grader's folder with extended attributes, so that nothing else fits",
        "the submission is at fault for everything that they use up, and never the template or the host",
        "python3 -c '
import os
for size in (60000, 4000, 200, 1):
    try:
        for n in range(100000):
            os.setxattr(\"/grader\", f\"user.{size}.{n}\", b\"x\" * size)
    except OSError as error:
        print(size, n, error)
print(os.statvfs(\"/grader\"))'
true",
    ),
    (
        "build-scratch",
        "the build fills /tmp, where the tests get their own folder",
        "the tests start without the folder, and the submission is at fault for their failure",
        "head -c 16M /dev/zero > /tmp/full
         python3 -c '
import itertools
try:
    for n in itertools.count():
        open(f\"/tmp/{n}\", \"w\").close()
except OSError as error:
    print(n, error)'
true",
    ),
];

/// Cases while the tests run: name, what is tried, the control, the statement in Python.
const ASKED: &[(&str, &str, &str, &str)] = &[
    ("tests-write", "the project opens a test for writing while the tests run", LANDLOCK, "open(T, 'w').write(F)"),
    ("tests-truncate", "the project cuts a test by its path", LANDLOCK, "os.truncate(T, 0); open(T, 'r+').write(F)"),
    ("tests-unlink", "the project removes a test and makes another", LANDLOCK, "os.unlink(T); open(T, 'w').write(F)"),
    (
        "tests-rename",
        "the project renames a test away and puts its own there",
        LANDLOCK,
        "os.rename(T, G + '/old'); open(T, 'w').write(F)",
    ),
    (
        "tests-link",
        "the project gives a test a second name and writes by that",
        LANDLOCK,
        "os.link(T, G + '/second'); open(G + '/second', 'w').write(F)",
    ),
    (
        "tests-symlink",
        "the project removes a test and puts a link there",
        LANDLOCK,
        "os.unlink(T); os.symlink('/workspace/forged.json', T)",
    ),
    (
        "tests-mkdir",
        "the project makes a folder in the grader's and renames it over a test",
        LANDLOCK,
        "os.mkdir(G + '/d'); open(G + '/d/f', 'w').write(F); os.rename(G + '/d/f', T)",
    ),
    (
        "tests-reopen",
        "the project opens a test for reading and again for writing through /proc/self/fd",
        LANDLOCK,
        "open(f'/proc/self/fd/{os.open(T, os.O_RDONLY)}', 'w').write(F)",
    ),
    (
        "tests-path-descriptor",
        "the project reaches a test by a descriptor of its folder and by one without access",
        LANDLOCK,
        "open(f'/proc/self/fd/{os.open(T, os.O_PATH)}', 'w').write(F)",
    ),
    (
        "tests-chmod-write",
        "the project makes a test writable by its mode and writes",
        LANDLOCK,
        "os.chmod(G, 0o777); os.chmod(T, 0o666); open(T, 'w').write(F)",
    ),
    (
        "tests-thread",
        "another thread and a child in a session of its own write",
        LANDLOCK,
        "t = threading.Thread(target=lambda: open(T, 'w').write(F)); t.start(); t.join(); \
         subprocess.run(['setsid', 'cp', '/workspace/forged.json', T])",
    ),
    (
        "tests-chmod",
        "the project closes a test to everybody, and so to the grader",
        "the grader counts an unreadable expectation as not answered",
        "os.chmod(T, 0)",
    ),
];

const LANDLOCK: &str = "stages may not write there (Landlock)";

const WAIT: &str = r#"import ctypes, os, shutil
libc = ctypes.CDLL(None)
watch = libc.inotify_init()
libc.inotify_add_watch(watch, b"/grader", 0x100 | 0x8 | 0x2)
open("up", "w").close()
while True:
    os.read(watch, 4096)
    try:
        shutil.copy("/workspace/forged.json", "/grader/expected.json")
    except OSError:
        pass
"#;

/// A module that replaces `json`: whatever it reads, it returns the forged answers.
const MODULE: &str = "import os\nload = lambda _: ['forged'] * 3\n\
    dump = lambda value, file: file.write(str(value).replace(\"'\", '\"'))\n";

pub(super) fn all() -> Vec<Trial> {
    let builds = BUILDS.iter().map(|(name, tried, control, script)| {
        // On a kernel without Landlock such a run fails, and the submission is at fault.
        trial(name, tried, control, script, WRONG, Expectation::GainsNothing)
    });
    let asked = ASKED.iter().map(|(name, tried, control, line)| {
        let answer = format!(
            "import os, subprocess, threading\nG = '/grader'\nT = G + '/expected.json'\nF = open('/workspace/forged.json').read()\n\
             try:\n    {line}\nexcept OSError:\n    pass\nprint('forged')\n"
        );
        trial(name, tried, control, "true", &answer, Expectation::Scores(0.0))
    });
    builds.chain(asked).collect()
}

fn trial(name: &str, tried: &str, control: &str, script: &str, answer: &str, expected: Expectation) -> Trial {
    let files =
        [("build.sh", script), ("answer.py", answer), ("forged.json", FORGED), ("json.py", MODULE), ("wait.py", WAIT)];
    let case = Case::new(Group::Code, &format!("grader-{name}"), tried, control);
    Trial { case, template: GRADED, archive: project(&files), expected }
}
