//! Submissions by the address of a repository (FAILURES 23, 24, and the hostile list "Git and call-backs").

use futures_util::future::join_all;
use reqwest::multipart::Form;
use serde_json::Value;
use uuid::Uuid;

use crate::forge::{Entry, Forge};
use crate::harness::{id_of, json};
use crate::site::{Setup, Site, failure, message};

fn site(forge: &Forge, more: &[(&'static str, &str)]) -> Site {
    let mut settings = vec![
        // The second is listed and leads to nobody.
        ("git_hosts", format!("{0} 127.0.0.1:1", forge.host)),
        ("egress_private_hosts", format!("{0} 127.0.0.1:1", forge.host)),
    ];
    settings.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    Site::start(Setup { settings, ..Setup::default() })
}

pub async fn submit(site: &Site, url: &str, reference: &str) -> (Uuid, Uuid) {
    let form = Form::new()
        .text("template", "script")
        .text("user", "ada")
        .text("repository_url", url.to_owned())
        .text("ref", reference.to_owned());
    let response = site.post("/v1/submissions").multipart(form).send().await.unwrap();
    let status = response.status();
    let body = json(response).await;
    assert_eq!(status, 202, "{body}");
    let submission = &body["submission"];
    assert!(submission["archive_sha256"].is_null() && submission["source"]["commit"].is_null(), "{body}");
    (id_of(submission), id_of(&body["run"]))
}

async fn submission(site: &Site, id: Uuid) -> Value {
    json(site.get(&format!("/v1/submissions/{id}")).send().await.unwrap()).await
}

pub async fn run(site: &Site, url: &str, reference: &str) -> (Value, Value) {
    let (id, run) = submit(site, url, reference).await;
    let ended = site.ended(run).await;
    (submission(site, id).await, ended)
}

/// The phases of a run that it had while it prepared.
async fn phases(site: &Site, run: Uuid) -> Vec<(String, Option<String>)> {
    let query = "SELECT to_status, phase FROM run_events
        WHERE run_id = $1 AND evidence -> 'egress' IS NULL ORDER BY id";
    sqlx::query_as(query).bind(run).fetch_all(&mut site.database().await).await.unwrap()
}

/// The hosts and ports that a run connected to.
async fn connections(site: &Site, run: Uuid) -> Vec<String> {
    let query = "SELECT (one ->> 'host') || ':' || (one ->> 'port') FROM run_events,
        jsonb_array_elements(evidence -> 'egress') AS one WHERE run_id = $1 AND phase = 'fetch'";
    sqlx::query_scalar(query).bind(run).fetch_all(&mut site.database().await).await.unwrap()
}

/// Looks at itself; what it finds in order it scores.
const SELF_TEST: &str = "set -e\n\
    [ ! -L link ] && [ \"$(cat link)\" = /etc/passwd ]\n\
    [ ! -L folder/up ] && [ \"$(cat folder/up)\" = ../../../workspace ]\n\
    [ \"$(cat left-out.txt)\" = kept ]\n\
    [ \"$(cat stamp.txt)\" = '$Format:%H$ $Id$' ]\n\
    [ -x tool ] && [ \"$(od -An -c crlf.txt | tr -d ' ')\" = 'a\\nb\\n' ]\n\
    [ ! -e module ] && [ ! -e .git ] && [ ! -e filtered ]\n\
    [ \"$(cat large.bin)\" = pointer ]\n";

/// Everything that a checkout would do something with.
fn eventful(forge: &Forge, name: &str) -> String {
    forge.init(name);
    let blob = |text: &str| forge.blob(name, text);
    let attributes = blob(
        "left-out.txt export-ignore\nfolder export-ignore\nstamp.txt export-subst ident\ncrlf.txt text eol=crlf\n\
         large.bin filter=lfs diff=lfs merge=lfs -text\ntool working-tree-encoding=UTF-16LE-BOM\n",
    );
    let modules = blob("[submodule \"module\"]\n\tpath = module\n\turl = https://example.org/module\n");
    let (link, up) = (blob("/etc/passwd"), blob("../../../workspace"));
    let (kept, stamp, crlf, pointer) = (blob("kept\n"), blob("$Format:%H$ $Id$\n"), blob("a\nb\n"), blob("pointer\n"));
    let (tool, script) = (blob("#!/bin/sh\ntouch filtered\n"), blob(SELF_TEST));
    let folder = forge.tree(name, &[("120000", "blob", "up", &up)]);
    let module = "b".repeat(40);
    let tree = forge.tree(
        name,
        &[
            ("100644", "blob", ".gitattributes", &attributes),
            ("100644", "blob", ".gitmodules", &modules),
            ("100644", "blob", "crlf.txt", &crlf),
            ("040000", "tree", "folder", &folder),
            ("100644", "blob", "large.bin", &pointer),
            ("100644", "blob", "left-out.txt", &kept),
            ("120000", "blob", "link", &link),
            ("160000", "commit", "module", &module),
            ("100644", "blob", "run.sh", &script),
            ("100644", "blob", "stamp.txt", &stamp),
            ("100755", "blob", "tool", &tool),
        ],
    );
    forge.commit(name, &tree)
}

#[tokio::test]
async fn a_repository_comes_as_plain_files_of_one_commit() {
    let forge = Forge::start();
    let site = site(&forge, &[]);
    let commit = eventful(&forge, "good.git");
    forge.git("good.git", &["tag", "-a", "-m", "one", "v1", &commit], b"");
    let seen = join_all(
        ["main", "HEAD", "v1", "refs/heads/main", &commit]
            .map(async |name: &str| run(&site, &forge.url("good.git"), name).await),
    )
    .await;
    let mut archives = Vec::new();
    for (submission, run) in &seen {
        let text = site.text(id_of(run), "").await;
        assert_eq!((run["score"].as_f64(), run["attempt"].as_i64()), (Some(1.0), Some(1)), "{run} {text}");
        let source = &submission["source"];
        assert_eq!(
            (&source["commit"], &source["repository_url"]),
            (&commit.as_str().into(), &forge.url("good.git").into())
        );
        assert_eq!(submission["archive_entries"], 11, "ten files and a folder: {submission}");
        archives.push(submission["archive_sha256"].clone());
        let phases = phases(&site, id_of(run)).await;
        let wanted = [("queued", None), ("preparing", None), ("preparing", Some("fetch")), ("running", Some("tests"))];
        let wanted: Vec<_> = wanted.iter().map(|(to, phase)| ((*to).to_owned(), phase.map(str::to_owned))).collect();
        assert_eq!(phases[..4], wanted);
        assert!(text.contains(&format!("fetched {commit}: 10 files")), "{text}");
        let connections = connections(&site, id_of(run)).await;
        assert!(!connections.is_empty() && connections.iter().all(|to| *to == forge.host), "{connections:?}");
        site.until("no cell is left", async || site.cells(Some(id_of(run))).await.is_empty()).await;
    }
    archives.dedup();
    assert_eq!(archives.len(), 1, "the same commit is the same archive: {archives:?}");

    // What is fetched once stays, whatever the branch names later.
    forge.repository("moving.git", &[("run.sh", "exit 0")]);
    let (first, _) = run(&site, &forge.url("moving.git"), "main").await;
    let tree = forge.tree("moving.git", &[("100644", "blob", "run.sh", &forge.blob("moving.git", "exit 1"))]);
    let second = forge.commit("moving.git", &tree);
    let (later, ended) = run(&site, &forge.url("moving.git"), "main").await;
    assert_eq!((&later["source"]["commit"], &ended["score"]), (&second.as_str().into(), &0.0.into()));
    assert_eq!(submission(&site, id_of(&first)).await["source"], first["source"]);
}

/// FAILURES 23: repositories that made clients run code, on checkout or before. Here they are refused or are
/// plain files.
#[tokio::test]
async fn a_repository_that_cannot_be_had_says_why_and_harms_nobody() {
    let forge = Forge::start();
    let site = site(&forge, &[]);
    forge.repository("good.git", &[("run.sh", "exit 0")]);
    let not_found = "not found";
    let mut cases = vec![
        (forge.url("absent.git"), "main", "fetch_failed", not_found),
        (forge.url("good.git"), "absent", "fetch_failed", "couldn't find remote ref absent"),
        (forge.url("good.git"), "tag", "fetch_failed", "couldn't find remote ref tag"),
        (forge.url("good.git"), "refs/assize/fetched", "fetch_failed", "couldn't find remote ref"),
        (forge.url("closed-a"), "main", "fetch_failed", "could not read Username"),
        // Elsewhere, and inward: the tunnel leads to the one host and port only.
        (forge.url("redirect-127.0.0.1_2"), "main", "fetch_failed", "403"),
        (forge.url("redirect-169.254.169.254_80"), "main", "fetch_failed", "403"),
        (forge.url("redirect-localhost_5432"), "main", "fetch_failed", "403"),
    ];

    let name = "blob.git";
    forge.init(name);
    let blob = forge.blob(name, "no commit");
    forge.git(name, &["update-ref", "refs/tags/blob", &blob], b"");
    cases.push((forge.url(name), "refs/tags/blob", "fetch_failed", "is no commit"));

    // CVE-2018-11235: a submodule whose name leads out of .git/modules.
    let modules = "[submodule \"../../modules/evil\"]\n\tpath = evil\n\turl = ./evil\n";
    cases.push((forge.url(&tricky(&forge, "11235.git", modules)), "main", "fetch_failed", "disallowed submodule name"));
    // CVE-2018-17456 and its like: a url and a path that are options.
    let modules = "[submodule \"a\"]\n\tpath = evil\n\turl = --upload-pack=touch\n";
    cases.push((forge.url(&tricky(&forge, "17456.git", modules)), "main", "fetch_failed", "disallowed submodule url"));
    let modules = "[submodule \"a\"]\n\tpath = -evil\n\turl = https://example.org/a\n";
    cases.push((forge.url(&tricky(&forge, "path.git", modules)), "main", "fetch_failed", "disallowed submodule path"));
    // CVE-2024-32002: a folder and a link whose names differ in case only.
    let name = "32002.git";
    forge.init(name);
    let (hook, link, script) = (forge.blob(name, "touch pwned"), forge.blob(name, ".git"), forge.blob(name, "exit 0"));
    let hooks = forge.tree(name, &[("100755", "blob", "post-checkout", &hook)]);
    let tree = forge.tree(
        name,
        &[("040000", "tree", "A", &hooks), ("120000", "blob", "a", &link), ("100644", "blob", "run.sh", &script)],
    );
    forge.commit(name, &tree);
    // The cell tells upper from lower case, and links become plain files: there is nothing to write through.
    let harmless = run(&site, &forge.url(name), "main").await.1;
    assert_eq!(harmless["status"], "completed", "{harmless}");
    // Names that only a tree can have.
    for (name, entry) in
        [("dotdot.git", ".."), ("dotgit.git", ".git"), ("dotgit2.git", "git~1"), ("dotgit3.git", ".Git")]
    {
        forge.init(name);
        let (blob, script) = (forge.blob(name, "x"), forge.blob(name, "exit 0"));
        let entries: [Entry<'_>; 2] = [("100644", "blob", entry, &blob), ("100644", "blob", "run.sh", &script)];
        let tree = forge.tree(name, &entries);
        forge.commit(name, &tree);
        cases.push((forge.url(name), "main", "fetch_failed", "contains '.."));
    }
    for case in cases.iter_mut().rev().take(3) {
        case.3 = "contains '.git'";
    }
    let name = "backslash.git";
    forge.repository(name, &[("..\\up", "x"), ("run.sh", "exit 0")]);
    cases.push((forge.url(name), "main", "archive_rejected", "leaves the project's folder"));

    let seen = join_all(cases.iter().map(|(url, reference, ..)| run(&site, url, reference))).await;
    for ((submission, run), (url, reference, code, why)) in seen.iter().zip(&cases) {
        let text = site.text(id_of(run), "").await;
        assert_eq!(failure(run), ("failed", *code, "submission"), "{url} {reference}: {run}");
        assert!(message(run).contains(why) || text.contains(why), "{url} {reference}: {run} {text}");
        assert!(submission["archive_sha256"].is_null() && submission["source"]["commit"].is_null(), "{submission}");
        assert_eq!(run["failure"]["evidence"]["stage"], "fetch", "{run}");
    }

    // CVE-2025-48384: a path that ends in a carriage return. Nothing here reads it, and it is a plain file.
    let modules = "[submodule \"a\"]\n\tpath = \"evil\r\"\n\turl = https://example.org/a\n";
    let (_, ended) = run(&site, &forge.url(&tricky(&forge, "48384.git", modules)), "main").await;
    assert_eq!(ended["score"], 1.0, "{ended}");
    site.until("no cell is left", async || site.cells(None).await.is_empty()).await;
}

/// A repository with these submodules, one of which is there.
fn tricky(forge: &Forge, name: &str, modules: &str) -> String {
    forge.init(name);
    let (modules, script) = (forge.blob(name, modules), forge.blob(name, "[ ! -e evil ] && [ ! -e pwned ]"));
    let module = "b".repeat(40);
    let tree = forge.tree(
        name,
        &[
            ("100644", "blob", ".gitmodules", &modules),
            ("160000", "commit", "evil", &module),
            ("100644", "blob", "run.sh", &script),
        ],
    );
    forge.commit(name, &tree);
    name.to_owned()
}

/// FAILURES 30: a host that is away, or says that it is unwell, costs nobody anything but time.
#[tokio::test]
async fn a_host_that_is_away_is_the_infrastructures_fault_and_pauses_nobody() {
    let forge = Forge::start();
    let site = site(&forge, &[("pause_after_failures", "2")]);
    let urls = ["http://127.0.0.1:1/a.git".to_owned(), forge.url("broken-a")];
    let seen = join_all(urls.iter().map(|url| run(&site, url, "main"))).await;
    for ((_, run), url) in seen.iter().zip(&urls) {
        assert_eq!(failure(run), ("failed", "network_error", "infrastructure"), "{url}: {run}");
        assert_eq!(
            (run["attempt"].as_i64(), &run["failure"]["evidence"]["stage"]),
            (Some(3), &"fetch".into()),
            "{run}"
        );
    }
    let next = site.run("script", &[("run.sh", "exit 0")]).await;
    assert_eq!(next["score"], 1.0, "six attempts failed, and the worker still claims: {next}");
}

#[tokio::test]
async fn a_repository_is_bounded_in_bytes_time_files_and_what_they_unpack_to() {
    let forge = Forge::start();
    let bounds = [
        ("max_archive_bytes", "1048576"),
        ("max_archive_entries", "1000"),
        ("max_unpacked_bytes", "4194304"),
        ("max_stage_timeout_s", "6"),
    ];
    let site = site(&forge, &bounds);
    let mut cases = Vec::new();
    for (name, why) in [("flood-a.git", "more than 2097152 bytes"), ("drip-a.git", "took longer than its 6 s")] {
        forge.repository(name, &[("run.sh", "exit 0")]);
        cases.push((forge.url(name), why));
    }
    // A tree of trees: 10^10 files in eleven objects; and as many folders with nothing in them.
    for (name, leaf, why) in
        [("files.git", "exit 0", "more than 1000 files"), ("folders.git", "", "took longer than its 6 s")]
    {
        forge.init(name);
        let mut tree = match leaf {
            "" => forge.tree(name, &[]),
            text => forge.tree(name, &[("100644", "blob", "f", &forge.blob(name, text))]),
        };
        for _ in 0..10 {
            let names: Vec<_> = (0..10).map(|number| format!("d{number}")).collect();
            let entries: Vec<Entry<'_>> =
                names.iter().map(|name| ("040000", "tree", name.as_str(), tree.as_str())).collect();
            tree = forge.tree(name, &entries);
        }
        forge.commit(name, &tree);
        cases.push((forge.url(name), why));
    }
    // One blob of a megabyte under many names.
    let name = "bytes.git";
    forge.init(name);
    let blob = forge.blob(name, &"a".repeat(1 << 20));
    let names: Vec<_> = (0..900).map(|number| format!("f{number:03}")).collect();
    let entries: Vec<Entry<'_>> = names.iter().map(|name| ("100644", "blob", name.as_str(), blob.as_str())).collect();
    let tree = forge.tree(name, &entries);
    forge.commit(name, &tree);
    cases.push((forge.url(name), "943718400 bytes together, the limit is 4194304"));

    let seen = join_all(cases.iter().map(|(url, _)| run(&site, url, "main"))).await;
    for ((_, run), (url, why)) in seen.iter().zip(&cases) {
        let text = site.text(id_of(run), "").await;
        assert_eq!(failure(run), ("failed", "fetch_failed", "submission"), "{url}: {run} {text}");
        assert!(message(run).contains(why) || text.contains(why), "{url}: {run} {text}");
    }
    site.until("no cell is left", async || site.cells(None).await.is_empty()).await;
}

/// FAILURES 1, 3, 8: what was fetched by halves counts for nothing, and is fetched anew in the same attempt.
#[tokio::test]
async fn killed_while_it_fetches_the_run_is_fetched_anew_and_judged_once() {
    let forge = Forge::start();
    let mut site = site(&forge, &[]);
    let commit = forge.repository("held-a.git", &[("run.sh", "echo judged")]);
    let (id, run) = submit(&site, &forge.url("held-a.git"), "main").await;
    site.until("the cell asks for its pack", async || forge.held() == 1).await;
    let seen = site.read(run).await;
    assert_eq!((&seen["status"], &seen["phase"]), (&"preparing".into(), &"fetch".into()), "{seen}");
    let cells = site.cells(Some(run)).await;
    site.take_worker().kill();
    site.start_worker();
    site.worker().wait_for("run adopted");
    site.until("another cell asks", async || forge.held() > 1).await;
    assert!(!site.cells(Some(run)).await.contains(&cells[0]), "the first is gone");
    forge.open();
    let ended = site.ended(run).await;
    assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(1), Some(1.0)), "{ended}");
    assert_eq!(site.states(run).await, ["queued", "preparing", "running", "parsing", "completed"]);
    assert_eq!(submission(&site, id).await["source"]["commit"], commit.as_str());
    assert_eq!(site.text(run, "&stage=tests").await, "judged\n");
    site.until("no cell is left", async || site.cells(None).await.is_empty()).await;
}

/// FAILURES 27.
#[tokio::test]
async fn cancelled_while_it_fetches_the_run_is_aborted() {
    let forge = Forge::start();
    let site = site(&forge, &[]);
    forge.repository("held-a.git", &[("run.sh", "exit 0")]);
    let (_, run) = submit(&site, &forge.url("held-a.git"), "main").await;
    site.until("the cell asks for its pack", async || forge.held() == 1).await;
    site.cancel(run).await;
    assert_eq!(failure(&site.ended(run).await), ("aborted", "cancelled", "platform"));
    site.until("no cell is left", async || site.cells(None).await.is_empty()).await;
}

/// FAILURES 33a, the other way in: what is fetched is held to the room of its template's cell too.
#[tokio::test]
async fn a_repository_that_its_cell_has_no_room_for_is_rejected() {
    let forge = Forge::start();
    let site = site(&forge, &[]);
    let names: Vec<_> = (0..80).map(|number| format!("f{number:02}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    forge.repository("many.git", &many);
    // Packed it is small: what counts is what it takes up.
    let large: String = (0..700_000).map(|number| format!("{number:07}\n")).collect();
    forge.repository("large.git", &[("run.sh", "exit 0"), ("large.txt", &large)]);
    for (name, words) in [("many.git", "80 files and folders"), ("large.git", "in whole pages")] {
        let (_, run) = run(&site, &forge.url(name), "main").await;
        assert_eq!(failure(&run), ("failed", "archive_rejected", "submission"), "{name}: {run}");
        assert!(message(&run).contains(words), "{name}: {run}");
        assert_eq!(run["attempt"], 1, "{name}: {run}");
    }
}
