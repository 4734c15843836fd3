//! Programs that exhaust resources or do not end. Each has a cell of its own and must be stopped there.

use crate::case::{Case, Group};
use crate::trial::{Expectation, Trial};
use assize_domain::run::FailureCode;

const PROCESSES: &[FailureCode] = &[FailureCode::TooManyProcesses, FailureCode::StageTimeout];
/// Each thread of Node takes some MiB: which limit stops the program first depends on the load of the host.
const WORKERS: &[FailureCode] = &[FailureCode::TooManyProcesses, FailureCode::StageTimeout, FailureCode::OutOfMemory];
const MEMORY: &[FailureCode] = &[FailureCode::OutOfMemory];
const TIME: &[FailureCode] = &[FailureCode::StageTimeout];
const OUTPUT: &[FailureCode] = &[FailureCode::OutputLimit];

struct Program {
    name: &'static str,
    tried: &'static str,
    control: &'static str,
    template: &'static str,
    text: &'static str,
    expected: Expectation,
}

pub(super) fn all() -> Vec<Trial> {
    let programs = bombs().into_iter().chain(hogs()).chain(endless()).chain(leavers());
    let trials = programs.map(|program| {
        let Program { name, tried, control, template, text, expected } = program;
        let file = match template {
            "node" => "run.js",
            "script" | "long" => "run.sh",
            _ => "run.py",
        };
        let archive = assize_corpus::project(&[(file.to_owned(), text.as_bytes().to_vec())]);
        Trial { case: Case::new(Group::Code, name, tried, control), template, archive, expected }
    });
    trials.collect()
}

/// A program that a control must stop with one of these codes: name, what is tried, template, text.
fn stopped(
    control: &'static str,
    codes: &'static [FailureCode],
) -> impl Fn(&'static str, &'static str, &'static str, &'static str) -> Program {
    move |name, tried, template, text| Program {
        name,
        tried,
        control,
        template,
        text,
        expected: Expectation::Fails(codes),
    }
}

fn bombs() -> Vec<Program> {
    let bomb = stopped("the pids cgroup", PROCESSES);
    let workers = stopped("the pids cgroup, or the memory cgroup", WORKERS);
    vec![
        bomb("fork-bomb", "a fork bomb in the shell", "script", "bomb() { bomb | bomb & }; bomb; sleep 1; exit 1"),
        bomb(
            "fork-storm",
            "processes that are born and die without end",
            "script",
            "while :; do (true &); (setsid true &); done",
        ),
        bomb(
            "thread-bomb",
            "threads until there are no more",
            "python",
            "import threading, time, sys\n\
            try:\n    while True:\n        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n\
            except RuntimeError:\n    sys.stdout.flush()\n    import os\n    os._exit(1)\n",
        ),
        bomb(
            "fork-bomb-sessions",
            "a fork bomb of which every process has a session of its own",
            "python",
            "import os\n\
            while True:\n    try:\n        if os.fork() == 0:\n            os.setsid()\n    except OSError:\n        os._exit(1)\n",
        ),
        bomb(
            "zombies",
            "creates children that no process reaps",
            "python",
            "import os\n\
            try:\n    while True:\n        if os.fork() == 0:\n            os._exit(0)\nexcept OSError:\n    os._exit(1)\n",
        ),
        workers(
            "node-workers",
            "Node workers without end",
            "node",
            "const { Worker } = require('worker_threads');\n\
            process.on('uncaughtException', () => process.exit(1));\n\
            for (;;) new Worker('setInterval(() => {}, 1000)', { eval: true }).on('error', () => process.exit(1));\n",
        ),
    ]
}

fn hogs() -> Vec<Program> {
    let hog = stopped("the memory cgroup: out_of_memory", MEMORY);
    let hog = |name, tried, text| hog(name, tried, "python", text);
    let flood = stopped("the warden's limit: output_limit", OUTPUT);
    vec![
        hog(
            "memory",
            "takes memory until none is left",
            "hold = []\nwhile True:\n    hold.append(bytearray(1 << 24))\n",
        ),
        hog(
            "memory-shared",
            "takes shared memory without a file",
            "import mmap\nhold = []\nwhile True:\n    \
            page = mmap.mmap(-1, 1 << 24)\n    page.write(b'x' * (1 << 24))\n    hold.append(page)\n",
        ),
        hog(
            "memory-memfd",
            "takes memory as files that have no name",
            "import os\nhold = []\nwhile True:\n    \
            file = os.memfd_create('x')\n    os.write(file, b'x' * (1 << 24))\n    hold.append(file)\n",
        ),
        hog(
            "memory-child",
            "lets a child run out of memory and exits with 0",
            "import os, subprocess, sys\n\
            subprocess.run([sys.executable, '-c', 'x = b\"x\" * (1 << 30)'])\nprint('survived', flush=True)\nos._exit(0)\n",
        ),
        hog(
            "memory-many",
            "takes memory in thirty processes, so that another may be killed for it",
            "import os, time\n\
            for _ in range(30):\n    if os.fork() == 0:\n        hold = bytearray(1 << 24)\n        time.sleep(2)\n        os._exit(0)\n\
            time.sleep(2)\nos._exit(0)\n",
        ),
        flood("flood", "writes without a line's end for ever", "long", "exec cat /dev/zero"),
        flood("flood-lines", "writes lines for ever", "long", "exec yes"),
        flood("flood-stderr", "writes to stderr for ever", "long", "exec cat /dev/zero >&2"),
        flood(
            "flood-both",
            "writes to both streams for ever, from many processes",
            "long",
            "for i in 1 2 3 4; do yes & yes >&2 & done; wait",
        ),
        flood(
            "flood-escapes",
            "writes escape sequences for ever",
            "python",
            "import sys\nwhile True:\n    sys.stdout.write('\\x1b[2J\\x1b]0;x\\x07' * 999)\n",
        ),
    ]
}

fn endless() -> Vec<Program> {
    let endless = stopped("the warden's deadline: stage_timeout", TIME);
    vec![
        endless("spin", "spins for ever", "script", "while :; do :; done"),
        endless(
            "ignores-term",
            "ignores SIGTERM, and its children too",
            "script",
            "trap '' TERM INT HUP; (while :; do :; done) & while :; do :; done",
        ),
        endless("stops-itself", "stops itself with SIGSTOP", "script", "kill -STOP $$"),
        endless("stops-its-group", "stops its whole group", "script", "(sleep 60 &); kill -STOP 0"),
        endless("waits-for-fifo", "opens a FIFO without a writer", "script", "mkfifo pipe; cat pipe"),
        endless(
            "leaves-its-group",
            "moves to another session and spins",
            "script",
            "exec setsid -w sh -c 'trap \"\" TERM; while :; do :; done'",
        ),
        endless("silent", "closes its output and goes on", "script", "exec >&- 2>&-; while :; do :; done"),
        endless("node-spin", "blocks Node's event loop", "node", "process.on('SIGTERM', () => {}); for (;;);\n"),
    ]
}

fn leavers() -> Vec<Program> {
    vec![
        Program {
            name: "daemon",
            tried: "leaves a double-forked daemon behind and passes",
            control: "the warden kills every process before it reports, and nothing of the cell is left",
            template: "script",
            text: "(setsid sh -c 'trap \"\" TERM HUP; while :; do :; done' >/dev/null 2>&1 &) ; exit 0",
            expected: Expectation::Scores(1.0),
        },
        Program {
            name: "holds-the-pipes",
            tried: "exits while a daemon holds its output open",
            control: "the warden waits for no pipe",
            template: "script",
            text: "(setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' &) ; exit 0",
            expected: Expectation::Scores(1.0),
        },
        Program {
            name: "kills-all",
            tried: "sends SIGKILL to all that it may",
            control: "PID 1 is not among them",
            template: "python",
            text: "import os\nos.kill(-1, 9)\n",
            expected: Expectation::GainsNothing,
        },
        Program {
            name: "crash",
            tried: "overflows its stack",
            control: "the process dies without a core file",
            template: "node",
            text: "const vm = require('vm'); function deep() { deep(); } try { deep(); } catch { process.abort(); }\n",
            expected: Expectation::Scores(0.0),
        },
        Program {
            name: "deep-folders",
            tried: "makes folders in folders until it cannot",
            control: "the inodes of the workspace are limited, and the cell is removed all the same",
            template: "python",
            text: "import os\nos.chdir('/workspace')\ntry:\n    while True:\n        os.mkdir('d')\n        os.chdir('d')\n\
                   except OSError:\n    os._exit(0)\n",
            expected: Expectation::Scores(1.0),
        },
        Program {
            name: "limits-the-warden",
            tried: "limits the CPU time of PID 1 to nothing, to be lost as if by the host's fault",
            control: "the warden's filter: the call is denied and the run is judged",
            template: "python",
            text: "import os, resource, time\ntry:\n    resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))\n\
                   except PermissionError:\n    os._exit(0)\nfor _ in range(10**6):\n    os.kill(1, 17)\ntime.sleep(3)\nos._exit(1)\n",
            expected: Expectation::Scores(1.0),
        },
    ]
}
