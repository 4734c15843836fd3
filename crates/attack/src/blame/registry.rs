//! A stage that may reach a registry and makes the registry unreachable itself.
//!
//! The cases run one after another: the registry accepts few connections, and the project that holds them must be the
//! one under test.

use super::outside::{NOBODY, ROOM};
use super::{case, id};
use crate::case::{Case, CaseOutcome};
use crate::context::AttackContext;
use crate::trial::{self, Expectation};
use assize_domain::run::FailureCode;

/// The beginning of every project. `@PORT@` stands for the port of the registry.
const FRAME: &str = "import os, socket, sys, threading, time\n\
from urllib.parse import urlsplit\n\
proxy = urlsplit(os.environ.get('http_proxy', 'http://127.0.0.1:3128'))\n\
PORT = @PORT@\n\
def connect(host, port=PORT):\n    \
    s = socket.create_connection((proxy.hostname, proxy.port), 15)\n    \
    s.sendall(f'CONNECT {host}:{port} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n'.encode())\n    \
    words = s.makefile('rb').readline().split()\n    \
    return s, int(words[1]) if len(words) > 1 else 0\n\
def hold(host, count):\n    return [connect(host) for _ in range(count)]\n\
def report(name, made):\n    print(name, sorted(set(code for _, code in made)), flush=True)\n";

const INSTALL: &[FailureCode] = &[FailureCode::InstallFailed];

/// Name, what is tried, `install.py` after the frame, how it must end.
const TRIED: &[(&str, &str, &str, &[FailureCode])] = &[
    (
        "registry-held",
        "holds all connections that the registry has room for, asks once more, and fails",
        "held = hold('localhost', ROOM)\nreport('held', held)\nreport('more', hold('localhost', 3))\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-held-dot",
        "the same, and asks for `host.` with a dot",
        "held = hold('localhost', ROOM)\nreport('held', held)\nreport('dot', hold('localhost.', 3))\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-held-case",
        "the same, in capitals",
        "held = hold('localhost', ROOM)\nreport('held', held)\nreport('case', hold('LOCALHOST', 3))\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-held-mapped",
        "the same by address, and as an IPv4-mapped one",
        "held = hold('127.0.0.1', ROOM)\nreport('held', held)\nreport('mapped', hold('[::ffff:127.0.0.1]', 3))\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-held-let-go",
        "holds them, asks once more, lets all go and then fails",
        "held = hold('localhost', ROOM)\nmore = hold('localhost.', 3)\nfor s, _ in held + more:\n    s.close()\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-reset",
        "holds them, asks once more, resets all and then fails",
        "import struct\nheld = hold('localhost', ROOM)\nmore = hold('localhost', 3)\nfor s, _ in held:\n    \
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n    s.close()\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-burst",
        "asks for the registry 50 times at once, and fails",
        "made = []\ndef one():\n    try:\n        made.append(connect('localhost'))\n    except OSError:\n        pass\n\
        all = [threading.Thread(target=one) for _ in range(50)]\n[t.start() for t in all]\n[t.join() for t in all]\n\
        report('burst', made)\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-connections",
        "uses up the connections of its stage, asks for the registry, and fails",
        "for _ in range(310):\n    s, code = connect('localhost')\n    s.close()\nprint(code)\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-bytes",
        "uses up the bytes of its stage, asks for the registry, and fails",
        "s, code = connect('localhost')\ntry:\n    for _ in range(64):\n        s.sendall(b'x' * 65536)\nexcept OSError as error:\n    print(error)\n\
        report('more', hold('localhost', 2))\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-unlisted",
        "asks for 100 hosts that are on no list, and for a port that is on none, and fails",
        "made = [connect(f'h{n}.example', 443) for n in range(100)]\nreport('unlisted', made)\n\
        report('port', [connect('localhost', PORT ^ 1), connect('localhost.', PORT ^ 1)])\nsys.exit(1)\n",
        INSTALL,
    ),
    (
        "registry-made-up",
        "makes up 40 names below a listed one, which do not resolve, and fails",
        "made = []\ndef one(n):\n    try:\n        made.append(connect(f'n{n}.assize-attack.invalid', 443))\n    except OSError:\n        pass\n\
        all = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(40)]\n[t.start() for t in all]\n\
        end = time.monotonic() + 3\n[t.join(max(0, end - time.monotonic())) for t in all]\nreport('made up', made)\nos._exit(1)\n",
        INSTALL,
    ),
    (
        "registry-earlier",
        "installs although one listed host is away, and fails to build, where it may reach the same",
        "print(connect('127.0.0.1', NOBODY)[1])\n",
        &[FailureCode::BuildFailed],
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let control = "an outage that a project causes by its own connections is the project's fault";
    TRIED.iter().map(|(name, tried, ..)| case(name, tried, control)).collect()
}

pub(super) async fn run(context: &AttackContext) {
    for (name, _, body, code) in TRIED {
        let id = id(name);
        if !context.wants(&id) {
            continue;
        }
        let outcome = one(context, &id, body, code).await.unwrap_or_else(CaseOutcome::Inconclusive);
        context.record(&id, outcome);
    }
}

async fn one(
    context: &AttackContext,
    id: &str,
    body: &str,
    code: &'static [FailureCode],
) -> Result<CaseOutcome, String> {
    let frame = FRAME.replace("@PORT@", &context.outside.registry_port.to_string());
    let body = body.replace("ROOM", &ROOM.to_string()).replace("NOBODY", &NOBODY.to_string());
    let files = [
        ("install.py".to_owned(), format!("{frame}{body}").into_bytes()),
        ("build.py".to_owned(), b"raise SystemExit(1)\n".to_vec()),
    ];
    let run = context.begin(&[id.to_owned()], "reaching", assize_corpus::project(&files)).await?;
    let ended = context.ended(run).await?;
    Ok(trial::assess(&ended, Expectation::Fails(code)))
}
