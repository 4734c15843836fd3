use assize_protocol::artifacts::{ArtifactEnded, ArtifactRules, ArtifactStarted, ArtifactsReport};
use assize_protocol::event::{EndStatus, StageExit};
use assize_protocol::frame::Kind;
use assize_protocol::plan::Plan;

use crate::cell::{Cell, Story, is_alive};

/// Files as they were sent: name and bytes, or the reason why they do not count.
fn received(story: &Story) -> Vec<(String, Result<Vec<u8>, String>)> {
    let (mut files, mut bytes, mut name) = (Vec::new(), Vec::new(), None);
    for frame in &story.frames {
        match frame.kind {
            Kind::ArtifactStarted => {
                let started: ArtifactStarted = crate::cell::read(frame);
                assert_eq!(name.replace(started.name), None, "one at a time");
            }
            Kind::Artifact => bytes.extend_from_slice(&frame.payload),
            Kind::ArtifactEnded => {
                let (name, bytes) = (name.take().unwrap(), std::mem::take(&mut bytes));
                files.push(match crate::cell::read(frame) {
                    ArtifactEnded::Bytes(length) => {
                        assert_eq!(length, bytes.len() as u64);
                        (name, Ok(bytes))
                    }
                    ArtifactEnded::LeftOut(reason) => (name, Err(reason)),
                });
            }
            _ => {}
        }
    }
    assert_eq!(name, None, "each has an end");
    files
}

struct Seen {
    /// Names without the folder of the cell, and their content.
    files: Vec<(String, String)>,
    report: ArtifactsReport,
    prefix: String,
}

impl Seen {
    fn names(&self) -> Vec<&str> {
        self.files.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The reason of a file that is left out.
    fn reason(&self, name: &str) -> &str {
        let name = format!("{}{name}", self.prefix);
        let found = self.report.left_out.iter().find(|one| one.name == name);
        found.map_or_else(|| panic!("{name} is not left out: {:?}", self.report), |one| &one.reason)
    }
}

fn rules(cell: &Cell, patterns: &[&str]) -> ArtifactRules {
    let folder = cell.path().display();
    ArtifactRules {
        patterns: patterns.iter().map(|pattern| format!("{folder}/{pattern}")).collect(),
        max_files: 16,
        max_bytes: 1000,
        extensions: ["txt", "png", "html"].map(str::to_owned).into(),
    }
}

/// What is handed out after a line of shell.
fn after(line: &str, patterns: &[&str]) -> Seen {
    after_with(line, patterns, |rules| rules)
}

fn after_with(line: &str, patterns: &[&str], change: impl Fn(ArtifactRules) -> ArtifactRules) -> Seen {
    let cell = Cell::start();
    let prefix = format!("{}/", cell.path().display()).trim_start_matches('/').to_owned();
    let artifacts = Some(change(rules(&cell, patterns)));
    let plan = Plan { stages: vec![cell.shell(line)], artifacts, ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!((&story.end.status, story.exits().len()), (&EndStatus::Done, 1));
    let short = |name: String| name.strip_prefix(&prefix).expect("beneath its folder").to_owned();
    let files: Vec<_> = received(&story)
        .into_iter()
        .filter_map(|(name, bytes)| Some((short(name), String::from_utf8_lossy(&bytes.ok()?).into_owned())))
        .collect();
    let report = story.end.artifacts.expect("a report");
    assert_eq!(report.sent as usize, files.len());
    assert_eq!(report.bytes, files.iter().map(|(_, text)| text.len() as u64).sum::<u64>());
    Seen { files, report, prefix }
}

#[test]
fn files_that_a_pattern_names_are_handed_out_in_order() {
    let line = "mkdir -p out/b/c other; printf 2 > out/b/c/two.txt; printf 1 > out/a.txt; printf 3 > out/z.PNG; \
        : > out/empty.txt; printf no > other/x.txt; printf no > out/tool.exe; printf no > out/README";
    let seen = after(line, &["out/**"]);
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(
        seen.files,
        [file("out/a.txt", "1"), file("out/b/c/two.txt", "2"), file("out/empty.txt", ""), file("out/z.PNG", "3")]
    );
    assert!(seen.reason("out/tool.exe").contains("kind") && seen.reason("out/README").contains("kind"));
    assert_eq!(seen.report.left_out_count, 2);
}

#[test]
fn patterns_that_overlap_hand_a_file_out_once() {
    let line = "mkdir -p out/in; echo 1 > out/in/a.txt; echo 2 > b.txt";
    assert_eq!(after(line, &["out/**", "out/in/*.txt", "*.txt", "gone/**"]).names(), ["b.txt", "out/in/a.txt"]);
}

#[test]
fn without_rules_and_without_files_nothing_is_handed_out() {
    let cell = Cell::start();
    let plan = Plan { stages: vec![cell.shell("echo 1 > a.txt")], ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!((&story.end.artifacts, received(&story).len()), (&None, 0));
    assert_eq!(after("true", &["out/**"]).report, ArtifactsReport::default());
}

#[test]
fn a_failed_stage_hands_out_what_it_wrote() {
    let cell = Cell::start();
    let artifacts = Some(rules(&cell, &["*.txt"]));
    let plan = Plan { stages: vec![cell.shell("printf x > a.txt; exit 3")], artifacts, ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!((story.exits(), received(&story).len()), (vec![StageExit::Exited { code: 3 }], 1));
}

/// FAILURES 14, for artifacts.
#[test]
fn what_is_no_plain_file_is_left_out_with_a_reason() {
    for (line, name, word) in [
        ("ln -s /etc/passwd out/x.txt", "out/x.txt", "symbolic link"),
        ("ln -s /no/such out/x.txt", "out/x.txt", "symbolic link"),
        ("mkfifo out/x.txt", "out/x.txt", "FIFO"),
        ("echo x > x; ln x out/x.txt", "out/x.txt", "2 names"),
        ("ln -s /etc out/folder", "out/folder", "symbolic link"),
        ("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"out/x.txt\")'", "out/x.txt", "socket"),
    ] {
        let seen = after(&format!("mkdir out; {line}; echo y > out/y.txt"), &["out/**"]);
        assert_eq!(seen.names(), ["out/y.txt"], "{line}");
        assert!(seen.reason(name).contains(word), "{line}: {}", seen.reason(name));
        assert_eq!(seen.report.left_out_count, 1, "{line}");
    }
    let seen = after("mkdir -p out/x.txt", &["out/*"]);
    assert!(seen.reason("out/x.txt").contains("is a folder"), "{:?}", seen.report);
}

#[test]
fn no_link_leads_the_walk_away() {
    let seen = after("ln -s /etc out", &["out/**"]);
    assert!(seen.reason("out").contains("a link or not a folder") && seen.files.is_empty(), "{:?}", seen.report);
    let seen = after("mkdir real; echo x > real/a.txt; ln -s real out", &["out/*.txt"]);
    assert!(seen.reason("out").contains("a link or not a folder") && seen.files.is_empty(), "{:?}", seen.report);
}

#[test]
fn names_that_a_reader_could_be_misled_by_are_left_out() {
    let line = r#"mkdir out; cd out; for name in "$(printf 'a\nb')" "$(printf 'a\033[2Jb')" "$(printf 'a\377b')" 'a\b' \
        "$(printf 'a\342\200\250b')"; do echo x > "$name.txt"; done; echo y > y.txt; mkdir ..x; echo z > ..x/z.txt"#;
    let seen = after(line, &["out/**"]);
    assert_eq!(seen.names(), ["out/..x/z.txt", "out/y.txt"]);
    assert_eq!(seen.report.left_out_count, 5);
    assert!(seen.reason("out/a\u{fffd}b.txt").contains("UTF-8"));
    assert!(seen.reason("out/a\\u{1b}[2Jb.txt").contains("control character"));
    assert!(seen.report.left_out.iter().all(|one| !one.name.contains(char::is_control)), "{:?}", seen.report);
}

#[test]
fn files_and_bytes_are_bounded() {
    let many = "mkdir out; n=100; while [ $n -lt 130 ]; do echo $n > out/$n.txt; n=$((n+1)); done";
    let seen = after(many, &["out/**"]);
    assert_eq!((seen.files.len(), seen.report.left_out_count, seen.names()[15]), (16, 14, "out/115.txt"));
    assert!(seen.reason("out/116.txt").contains("16 artifacts come before it"));
    let large = "mkdir out; head -c 600 /dev/zero > out/a.txt; head -c 401 /dev/zero > out/b.txt; \
        head -c 400 /dev/zero > out/c.txt; truncate -s 8G out/d.txt";
    let seen = after(large, &["out/**"]);
    assert_eq!(seen.names(), ["out/a.txt", "out/c.txt"], "what fits, fits");
    assert!(seen.reason("out/b.txt").contains("has 401 bytes, 400 of the 1000 bytes"), "{:?}", seen.report);
    assert!(seen.reason("out/d.txt").contains("0 of the 1000 bytes"), "{:?}", seen.report);
}

#[test]
fn entries_and_depth_are_bounded() {
    let seen = after("mkdir out; cd out; seq -f '%06.0f.bin' 10050 | xargs touch", &["out/**"]);
    assert!(seen.reason("out").contains("more than 10000 entries"), "{:?}", seen.report);
    assert_eq!((seen.report.left_out.len(), seen.report.left_out_count), (20, 10_001));
    let line = "d=out; n=0; while [ $n -lt 30 ]; do d=$d/d; n=$((n+1)); done; mkdir -p $d; echo x > $d/x.txt; \
        echo y > out/d/y.txt";
    let seen = after(line, &["out/**"]);
    assert_eq!(seen.names(), ["out/d/y.txt"]);
    assert!(seen.report.left_out[0].reason.contains("too deep"), "{:?}", seen.report);
}

#[test]
fn a_folder_that_is_closed_is_left_out() {
    if nix::unistd::geteuid().is_root() {
        return println!("skipped: no folder is closed to root");
    }
    let seen = after("mkdir -p out/shut; echo x > out/shut/x.txt; echo y > out/y.txt; chmod 0 out/shut", &["out/**"]);
    assert_eq!(seen.names(), ["out/y.txt"]);
    assert!(seen.reason("out/shut").contains("closed (EACCES)"));
}

/// Written after exit: nobody is left to write while they are read.
#[test]
fn a_process_that_keeps_writing_is_gone_before_its_file_is_read() {
    let mut cell = Cell::start();
    let line = "setsid sh -c 'echo $$ > pid; while :; do echo more >> out.txt; done' & \
        while [ ! -s out.txt ] || [ ! -s pid ]; do :; done";
    let artifacts = Some(ArtifactRules { max_bytes: 1 << 26, ..rules(&cell, &["*.txt"]) });
    let plan = Plan { stages: vec![cell.shell(line)], artifacts, ..cell.empty_plan() };
    let pid = cell.path().join("pid");
    cell.send_plan(&plan);
    cell.wait(Kind::ArtifactStarted);
    assert!(!is_alive(&std::fs::read_to_string(pid).unwrap()));
    let story = cell.story();
    assert_eq!(story.end.artifacts.map(|report| (report.sent, report.left_out_count)), Some((1, 0)));
}
