//! Projects that abuse the files which their run hands out: to reach a file that is not theirs, to hold the warden up, to
//! flood the service, to mislead a grader's terminal, or to run in a grader's browser.
//!
//! Each project exits with code 0, and its verdict must be that of an honest one whatever becomes of its files.

use futures_util::StreamExt;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::case::{Case, CaseOutcome, Group};
use crate::context::{AttackContext, CONCURRENT_RUNS};
use crate::trial::{self, Expectation};

/// The template that hands out `/workspace/out/**`.
pub const TEMPLATE: &str = "handing-out";

/// Its section `[artifacts]`.
pub const SECTION: &str = "[artifacts]\nsubject = [\"/workspace/out/**\"]\nmax_files = 4\nmax_kib = 64\n";

const MAX_FILES: usize = 4;
const MAX_BYTES: u64 = 64 * 1024;

/// What an honest file of these projects contains.
const HONEST: &str = "honest\n";

const PAGE: &str = "<script>alert(1)</script>";

/// What must hold of the files of a run.
#[derive(Clone, Copy)]
enum Holds {
    /// Only `out/honest.txt` is handed out, and so many others are left out at least.
    OnlyHonest(u64),
    /// No more files and bytes than the template allows.
    WithinLimits,
    /// `out/honest.txt` is one state of a file that a process of the project keeps changing.
    OneState,
    /// No name has a character that drives a terminal.
    PlainNames,
    /// A browser takes no file for a page of the service.
    Attached,
}

/// Name, what is tried, the control, the script and what must hold.
const CASES: &[(&str, &str, &str, &str, Holds)] = &[
    (
        "artifact-link",
        "hands out links to a file of the image and to the environment of PID 1",
        "the warden follows no link",
        "ln -s /etc/passwd out/a.txt; ln -s /proc/1/environ out/b.txt; ln -s /no/such out/c.txt",
        Holds::OnlyHonest(3),
    ),
    (
        "artifact-linked-folder",
        "hands out a link to a folder with files that are not to be handed out",
        "the warden follows no link",
        "mkdir other; echo x > other/a.txt; ln -s ../other out/folder; ln -s / out/root",
        Holds::OnlyHonest(2),
    ),
    (
        "artifact-hard-link",
        "hands out another name of a file that is not to be handed out",
        "a file has one name",
        "echo x > other; ln other out/a.txt",
        Holds::OnlyHonest(1),
    ),
    (
        "artifact-fifo",
        "hands out a FIFO, at which a reader would wait for ever",
        "the warden opens without waiting, and only plain files",
        "mkfifo out/a.txt",
        Holds::OnlyHonest(1),
    ),
    (
        "artifact-kind",
        "hands out a program and a file without an extension",
        "the list of extensions",
        "cp /bin/sh out/a.exe 2>/dev/null || echo x > out/a.exe; echo x > out/README",
        Holds::OnlyHonest(2),
    ),
    (
        "artifact-many",
        "hands out a million files",
        "`max_files`, and a bound on the entries that are looked at",
        "n=0; while [ $n -lt 1000000 ]; do echo x > out/$n.txt || break; n=$((n+1)); done 2>/dev/null",
        Holds::WithinLimits,
    ),
    (
        "artifact-large",
        "hands out more bytes than allowed, in one file and in many",
        "`max_kib`",
        "head -c 65537 /dev/zero > out/a.txt; for n in 1 2 3; do head -c 30000 /dev/zero > out/b$n.txt; done; \
         truncate -s 8M out/sparse.txt",
        Holds::WithinLimits,
    ),
    (
        "artifact-grows",
        "keeps changing a file while it is handed out",
        "no process is left when files are read, and no more than their length is",
        "rm out/honest.txt; (setsid sh -c 'trap \"\" TERM HUP; n=0; while [ $n -lt 10000 ]; do echo more >> out/honest.txt; \
         n=$((n+1)); done; while :; do echo other > new; mv new out/honest.txt; echo more >> out/honest.txt; done' \
         >/dev/null 2>&1 &); while [ ! -s out/honest.txt ]; do :; done",
        Holds::OneState,
    ),
    (
        "artifact-names",
        "names files with line feeds, terminal escapes, backslashes, characters that reorder others, and bytes that are not UTF-8",
        "such names are left out, and shown with escapes",
        "cd out; for name in 'a\\nb' 'a\\033[2Jb' 'a\\233b' 'a\\377b' 'a\\\\\\\\b' 'a\\342\\200\\256b'; do \
         echo x > \"$(printf \"$name\").txt\"; done",
        Holds::PlainNames,
    ),
    (
        "artifact-page",
        "hands out a page with a script, under the names of a page, a picture and a drawing",
        "an attachment of the listed type, `nosniff`, and a sandbox without scripts",
        "for kind in html png svg; do printf '<script>alert(1)</script>' > out/page.$kind; done",
        Holds::Attached,
    ),
];

/// Every case of this file.
pub(super) fn cases() -> Vec<Case> {
    CASES.iter().map(|(name, tried, control, ..)| Case::new(Group::Results, name, *tried, *control)).collect()
}

/// Tries every requested case, several at a time.
pub(super) async fn run(context: &AttackContext) {
    let wanted = cases().into_iter().zip(CASES).filter(|(case, _)| context.wants(&case.id));
    futures_util::stream::iter(wanted)
        .for_each_concurrent(CONCURRENT_RUNS, async |(case, (_, _, _, script, holds))| {
            let outcome = one(context, &case.id, script, *holds).await.unwrap_or_else(CaseOutcome::Inconclusive);
            context.record(&case.id, outcome);
        })
        .await;
}

/// A file as the service hands it to a client.
struct Served {
    name: String,
    headers: HeaderMap,
    bytes: Vec<u8>,
    /// Whether the content has the length and the digest of the list.
    is_as_listed: bool,
}

async fn one(context: &AttackContext, id: &str, script: &str, holds: Holds) -> Result<CaseOutcome, String> {
    let script = format!("mkdir out; printf '{HONEST}' > out/honest.txt\n{script}\nexit 0\n");
    let archive = assize_corpus::project(&[("run.sh".to_owned(), script.into_bytes())]);
    let run = context.begin(&[id.to_owned()], TEMPLATE, archive).await?;
    let ended = context.ended(run).await?;
    if let CaseOutcome::Escaped(how) = trial::assess(&ended, Expectation::Scores(1.0)) {
        return Ok(CaseOutcome::Escaped(format!("the files changed the verdict: {how}")));
    }
    let list = context.send(context.request(Method::GET, &format!("/v1/runs/{run}/artifacts"))).await?.body;
    let mut files = Vec::new();
    for listed in list["artifacts"].as_array().ok_or("there is no list of artifacts")? {
        files.push(served(context, listed).await?);
    }
    Ok(assess(holds, &list, &files))
}

async fn served(context: &AttackContext, listed: &Value) -> Result<Served, String> {
    let url = listed["url"].as_str().unwrap_or_default();
    let answer = context.request(Method::GET, url).send().await.map_err(|error| format!("no answer: {error}"))?;
    let headers = answer.headers().clone();
    let bytes = answer.bytes().await.map_err(|error| format!("half an answer: {error}"))?.to_vec();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let is_as_listed = listed["bytes"] == bytes.len() && listed["sha256"] == digest;
    Ok(Served { name: listed["name"].as_str().unwrap_or_default().to_owned(), headers, bytes, is_as_listed })
}

fn assess(holds: Holds, list: &Value, files: &[Served]) -> CaseOutcome {
    let left_out = list["left_out_count"].as_u64().unwrap_or_default();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let seen = format!("{} handed out, {left_out} left out", names.len());
    if let Some(changed) = files.iter().find(|file| !file.is_as_listed) {
        return CaseOutcome::Escaped(format!("{} is not what the list says", changed.name));
    }
    let honest = "workspace/out/honest.txt";
    match holds {
        Holds::OnlyHonest(others) => {
            let is_honest = names == [honest] && files.iter().all(|file| file.bytes == HONEST.as_bytes());
            CaseOutcome::contained_if(is_honest && left_out >= others, seen)
        }
        Holds::WithinLimits => {
            let bytes: u64 = files.iter().map(|file| file.bytes.len() as u64).sum();
            let is_within = names.len() <= MAX_FILES && bytes <= MAX_BYTES && left_out > 0;
            CaseOutcome::contained_if(is_within, format!("{seen}, {bytes} bytes"))
        }
        Holds::OneState => match files {
            // A process that was killed in between leaves no file under that name for a moment.
            [] if left_out == 0 => CaseOutcome::Contained("no file was there".to_owned()),
            [file] => {
                let is_state =
                    file.bytes.split(|byte| *byte == b'\n').all(|line| matches!(line, b"more" | b"other" | b""));
                CaseOutcome::contained_if(file.name == honest && is_state, format!("{} bytes", file.bytes.len()))
            }
            _ => CaseOutcome::Escaped(format!("{seen}: {}", list["left_out"])),
        },
        Holds::PlainNames => {
            let text = list.to_string();
            let drives = |c: char| c.is_control() || c == '\u{202e}';
            let first = list["left_out"].as_array().into_iter().flatten();
            let shown = first.filter_map(|one| one["name"].as_str()).chain(names.iter().copied());
            let is_plain = !shown.into_iter().any(|name| name.contains(drives));
            CaseOutcome::contained_if(is_plain && left_out >= 4, format!("{seen}, {} bytes of list", text.len()))
        }
        Holds::Attached => {
            let header = |file: &Served, name: &str| {
                file.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
            };
            let is_inert = |file: &Served| {
                header(file, "content-disposition").starts_with("attachment;")
                    && header(file, "x-content-type-options") == "nosniff"
                    && header(file, "content-security-policy").starts_with("sandbox;")
            };
            let types = [("page.html", "text/html"), ("page.png", "image/png"), ("page.svg", "image/svg+xml")];
            let is_typed = types.iter().all(|(name, media_type)| {
                files.iter().any(|file| {
                    file.name.ends_with(name)
                        && file.bytes == PAGE.as_bytes()
                        && header(file, "content-type").starts_with(media_type)
                })
            });
            CaseOutcome::contained_if(is_typed && files.iter().all(is_inert), seen)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(name: &str, bytes: &[u8], headers: &[(&'static str, &'static str)]) -> Served {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Served { name: name.to_owned(), headers, bytes: bytes.to_vec(), is_as_listed: true }
    }

    fn is_contained(holds: Holds, list: &Value, files: &[Served]) -> bool {
        matches!(assess(holds, list, files), CaseOutcome::Contained(_))
    }

    #[test]
    fn an_escape_is_told_from_what_is_contained() {
        let honest = || file("workspace/out/honest.txt", b"honest\n", &[]);
        let list = |left_out: u64| json!({ "left_out_count": left_out, "left_out": [{ "name": "a" }] });
        assert!(is_contained(Holds::OnlyHonest(1), &list(1), &[honest()]));
        assert!(!is_contained(Holds::OnlyHonest(1), &list(0), &[honest()]), "nobody says why");
        let stolen = file("workspace/out/a.txt", b"root:x:0:0", &[]);
        assert!(!is_contained(Holds::OnlyHonest(1), &list(1), &[honest(), stolen]));
        let changed = Served { is_as_listed: false, ..honest() };
        assert!(!is_contained(Holds::OnlyHonest(1), &list(1), &[changed]));
        let five: Vec<_> = (0..5).map(|_| honest()).collect();
        assert!(!is_contained(Holds::WithinLimits, &list(1), &five));
        assert!(!is_contained(Holds::WithinLimits, &list(1), &[file("a.txt", &vec![0; 65_537], &[])]));
        assert!(!is_contained(Holds::OneState, &list(1), &[]), "it grew while it was read");
        assert!(is_contained(Holds::OneState, &list(0), &[file("workspace/out/honest.txt", b"more\nmore\n", &[])]));
        let driving = json!({ "left_out_count": 5, "left_out": [{ "name": "a\u{1b}[2J" }] });
        assert!(
            !is_contained(Holds::PlainNames, &driving, &[honest()]) && is_contained(Holds::PlainNames, &list(5), &[])
        );
        let inert = [
            ("content-disposition", "attachment; filename*=UTF-8''page"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox; default-src 'none'"),
        ];
        let page = |name: &str, media_type, headers: &[(&'static str, &'static str)]| {
            file(name, PAGE.as_bytes(), &[headers, &[("content-type", media_type)]].concat())
        };
        let all = |headers: &[(&'static str, &'static str)]| {
            [("page.html", "text/html"), ("page.png", "image/png"), ("page.svg", "image/svg+xml")]
                .map(|(name, media_type)| page(name, media_type, headers))
        };
        assert!(is_contained(Holds::Attached, &list(0), &all(&inert)));
        assert!(!is_contained(Holds::Attached, &list(0), &all(&inert[..2])), "no sandbox");
        assert!(!is_contained(Holds::Attached, &list(0), &all(&inert[1..])), "no attachment");
    }
}
