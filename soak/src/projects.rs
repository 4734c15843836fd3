//! The templates and projects of the load. The end of each run is known before it is submitted.

use std::io::{Cursor, Write};
use std::path::Path;

use anyhow::Result;
use assize_domain::run::{FailureCode, Status};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const IMAGE: &str = "assize/base:1";

/// The number of bytes of output after which a stage is killed: a setting of the installation, which the project
/// `flood` exceeds.
pub const OUTPUT_LIMIT: usize = 256 * 1024;

/// The longest global timeout of these templates, in seconds.
pub const LONGEST_S: u64 = 45;

const LIMITS: &str = "cpus = 1.0\nmemory_mib = 48\npids = 24\nworkspace_mib = 4\nworkspace_inodes = 60\ntmp_mib = 2\n";

/// A project that answers every request with one word.
const APP: &str = r#"$| = 1; print "begin start\n";
use IO::Socket::INET;
my $door = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8000, Listen => 8, ReuseAddr => 1) or die;
while (my $guest = $door->accept) { my $ask = <$guest>; print $guest "HTTP/1.0 200 OK\r\n\r\nWORD\n"; close $guest }
"#;

/// A driver that gives one point for an answer and one for the right answer.
const DRIVER: &str = r#"$| = 1; print "begin tests\n";
use IO::Socket::INET;
my $score = 0;
if (my $service = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 8000, Timeout => 5)) {
    print $service "GET / HTTP/1.0\r\n\r\n";
    local $/; my $answer = <$service>;
    $score = 1 + ($answer =~ /hello/ ? 1 : 0);
}
select(undef, undef, undef, 0.3);
open(my $out, ">", "/workspace/results.json") or die;
print $out "{\"score\": $score, \"max_score\": 2}"; close $out;
"#;

/// How a run must end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expected {
    Scored { score: f64, max_score: f64 },
    Ended { code: FailureCode },
}

impl Expected {
    pub const fn status(self) -> Status {
        match self {
            Self::Scored { .. } => Status::Completed,
            Self::Ended { code } => code.status(),
        }
    }
}

/// A project to submit.
#[derive(Debug, Clone)]
pub struct Project {
    pub name: String,
    pub template: String,
    pub files: Vec<(String, Vec<u8>)>,
    pub expected: Expected,
}

/// The projects by name, with their weights.
const PROJECTS: &[(&str, u32)] = &[
    ("pass", 6),
    ("fail", 3),
    ("staged", 5),
    ("heavy", 2),
    ("install-fails", 2),
    ("graded", 2),
    ("invalid", 2),
    ("service", 3),
    ("service-partial", 1),
    ("deaf", 1),
    ("never-ready", 1),
    ("memory-hog", 1),
    ("flood", 1),
];

/// Draws the project with this number for this seed.
pub fn draw(seed: u64, number: u64) -> Project {
    let mut random = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let name = PROJECTS.choose_weighted(&mut random, |(_, weight)| *weight).map_or("pass", |(name, _)| *name);
    project(name, &mut random)
}

/// Creates the project of this name, and draws its details.
pub fn project(name: &'static str, random: &mut StdRng) -> Project {
    let mut nap = || format!("sleep 0.{:02}", random.random_range(5..90));
    let full = Expected::Scored { score: 1.0, max_score: 1.0 };
    let ended = |code| Expected::Ended { code };
    let run = |text: String| vec![("run.sh", format!("echo begin tests\n{text}\n"))];
    let staged = |naps: [String; 3]| {
        let [install, build, tests] = naps;
        vec![
            ("install.sh", format!("echo begin install\n{install}\n")),
            ("build.sh", format!("echo begin build\n{build}\n")),
            ("run.sh", format!("echo begin tests\n{tests}\n")),
        ]
    };
    let (template, files, expected) = match name {
        "fail" => ("quick", run(format!("{}; exit 3", nap())), Expected::Scored { score: 0.0, max_score: 1.0 }),
        "staged" => ("staged", staged([nap(), nap(), nap()]), full),
        "heavy" => ("heavy", staged([nap(), nap(), nap()]), full),
        "long" => ("staged", staged(["sleep 2".to_owned(), "sleep 2".to_owned(), "sleep 2".to_owned()]), full),
        "install-fails" => ("staged", staged([nap() + "; exit 1", nap(), nap()]), ended(FailureCode::InstallFailed)),
        "graded" => (
            "graded",
            run(format!("{}; echo '{{\"score\": 3, \"max_score\": 4}}' > results.json", nap())),
            Expected::Scored { score: 3.0, max_score: 4.0 },
        ),
        "invalid" => (
            "graded",
            run(format!("{}; echo '{{\"score\": ' > results.json", nap())),
            ended(FailureCode::ReportSpoiled),
        ),
        "service" => {
            ("service", vec![("app.pl", APP.replace("WORD", "hello"))], Expected::Scored { score: 2.0, max_score: 2.0 })
        }
        "service-partial" => (
            "service",
            vec![("app.pl", APP.replace("WORD", "goodbye"))],
            Expected::Scored { score: 1.0, max_score: 2.0 },
        ),
        "deaf" => {
            ("hasty", run("trap '' TERM; while :; do sleep 1; done".to_owned()), ended(FailureCode::StageTimeout))
        }
        "never-ready" => (
            "waiting",
            vec![("app.pl", "$| = 1; print \"begin start\\n\"; sleep 60;".to_owned())],
            ended(FailureCode::StartTimeout),
        ),
        "memory-hog" => ("quick", run("tail /dev/zero; exit 0".to_owned()), ended(FailureCode::OutOfMemory)),
        "flood" => ("quick", run("exec yes all work and no play".to_owned()), ended(FailureCode::OutputLimit)),
        _ => ("quick", run(nap()), full),
    };
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    Project { name: name.to_owned(), template: template.to_owned(), files, expected }
}

impl Project {
    pub fn archive(&self) -> Result<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in &self.files {
            zip.start_file(name.as_str(), SimpleFileOptions::default())?;
            zip.write_all(text)?;
        }
        Ok(zip.finish()?.into_inner())
    }
}

fn stage(name: &str, command: &str, timeout_s: u64) -> String {
    let ready = if name == "start" { "ready = { port = 8000 }\n" } else { "" };
    format!("[[stages]]\nname = \"{name}\"\ncommand = [{command}]\ntimeout_s = {timeout_s}\n{ready}")
}

/// Writes the templates. Timeouts that are not part of a test are long, because the host is busy.
pub fn write_templates(folder: &Path) -> Result<()> {
    const EXIT_CODE: &str = "format = \"exit_code\"\n";
    const FILE: &str = "format = \"gradescope\"\npath = \"/workspace/results.json\"\nmax_kib = 64\n";
    let shell = |name: &str, file: &str, timeout_s| stage(name, &format!("\"sh\", \"{file}\""), timeout_s);
    let tests = |timeout_s| shell("tests", "run.sh", timeout_s);
    let staged = || shell("install", "install.sh", 20) + &shell("build", "build.sh", 20) + &tests(20);
    let start = |timeout_s| stage("start", r#""perl", "app.pl""#, timeout_s);
    let driver = format!(
        "[driver]\nimage = \"{IMAGE}\"\ncommand = [\"perl\", \"/grader/driver.pl\"]\ntimeout_s = 20\n\
         [driver.limits]\n{LIMITS}"
    );
    let write = |name: &str, class: char, stages: String, results: &str| -> Result<()> {
        let text = format!(
            "description = \"{name}\"\nclass = \"{class}\"\nimage = \"{IMAGE}\"\n[limits]\n{LIMITS}{stages}\
             [results]\n{results}[global]\ntimeout_s = {LONGEST_S}\n"
        );
        std::fs::create_dir_all(folder.join(name))?;
        Ok(std::fs::write(folder.join(name).join("template.toml"), text)?)
    };
    write("quick", 'A', tests(20), EXIT_CODE)?;
    write("hasty", 'A', tests(1), EXIT_CODE)?;
    write("graded", 'A', tests(20), FILE)?;
    write("staged", 'B', staged(), EXIT_CODE)?;
    write("heavy", 'C', staged(), EXIT_CODE)?;
    for (name, timeout_s) in [("service", 20), ("waiting", 1)] {
        write(name, 'B', start(timeout_s) + &driver, FILE)?;
        std::fs::create_dir_all(folder.join(name).join("tests"))?;
        std::fs::write(folder.join(name).join("tests/driver.pl"), DRIVER)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_in_order_and_every_project_has_one() {
        let folder = tempfile::tempdir().unwrap();
        write_templates(folder.path()).unwrap();
        let templates = assize::template::Templates::load(folder.path()).unwrap();
        for (name, _) in PROJECTS {
            let project = project(name, &mut StdRng::seed_from_u64(1));
            assert_eq!(project.name, *name);
            assert!(templates.get(&project.template).is_some(), "{name}");
            assert!(!project.archive().unwrap().is_empty());
        }
    }

    #[test]
    fn one_seed_is_one_load() {
        let load = |seed| (0..50).map(|number| draw(seed, number).files).collect::<Vec<_>>();
        assert_eq!(load(3), load(3));
        assert_ne!(load(3), load(4));
    }
}
