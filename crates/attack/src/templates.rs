//! The templates of the installation under attack. Their limits are small, their timeouts short, and their stages run
//! whatever program the project contains.

use std::path::Path;

use super::blame::outside::NOBODY;

/// Inodes of a project's workspace.
pub const WORKSPACE_INODES: usize = 100;
const SMALL: &str = "cpus = 1.0\nmemory_mib = 48\npids = 24\nworkspace_mib = 4\nworkspace_inodes = 100\ntmp_mib = 2\n";
const ROOMY: &str =
    "cpus = 1.0\nmemory_mib = 256\npids = 64\nworkspace_mib = 16\nworkspace_inodes = 2000\ntmp_mib = 4\n";
/// Limits that leave one of two cores to a neighbour.
const HALF: &str = "cpus = 0.5\nmemory_mib = 96\npids = 48\nworkspace_mib = 16\nworkspace_inodes = 500\ntmp_mib = 4\n";

/// Limits that are narrow in one respect each: few pages, little memory for what the workspace holds, hardly any CPU time.
const NARROW: &str = "cpus = 1.0\nmemory_mib = 48\npids = 24\nworkspace_mib = 1\nworkspace_inodes = 350\ntmp_mib = 2\n";
const TIGHT: &str =
    "cpus = 1.0\nmemory_mib = 24\npids = 24\nworkspace_mib = 16\nworkspace_inodes = 20000\ntmp_mib = 8\n";
const STARVED: &str =
    "cpus = 0.05\nmemory_mib = 48\npids = 64\nworkspace_mib = 4\nworkspace_inodes = 100\ntmp_mib = 2\n";

const SHELL: &str = "assize/base:1";
pub const PYTHON: &str = "assize/python-api:1";
const NODE: &str = "assize/node-api:1";

const EXIT_CODE: &str = "format = \"exit_code\"\n";

/// Number of tests that every report of a `report-` template must have.
pub const EXPECTED_TESTS: usize = 2;

/// Time limit of a stage of the template `late`, in seconds.
pub const LATE_S: u64 = 1;

/// Every image that the attack needs.
pub const IMAGES: [&str; 4] = [SHELL, PYTHON, NODE, super::grader::PYTEST_IMAGE];

/// The driver of the template `service`: ten questions, all of which a correct project answers.
const DRIVER: &str = include_str!("results/driver.py");

struct Kind {
    image: &'static str,
    limits: &'static str,
    command: &'static str,
    timeout_s: u64,
    results: String,
}

/// Writes every template into `folder`. The stages of `reaching` may reach a registry on this port of the loopback.
///
/// # Errors
/// The folder cannot be written to.
pub fn write(folder: &Path, registry_port: u16) -> std::io::Result<()> {
    let shell = |limits, timeout_s| Kind {
        image: SHELL,
        limits,
        command: r#""sh", "run.sh""#,
        timeout_s,
        results: EXIT_CODE.to_owned(),
    };
    let python = |limits, timeout_s| Kind {
        image: PYTHON,
        command: r#""python3", "-I", "-u", "run.py""#,
        ..shell(limits, timeout_s)
    };
    let one = |name: &str, kind: Kind| write_one(folder, name, &kind);
    one("script", shell(SMALL, 4))?;
    one("long", shell(ROOMY, 20))?;
    one("beside", python(HALF, 20))?;
    one("python", python(ROOMY, 20))?;
    one("probe", python(ROOMY, 120))?;
    one("late", python(ROOMY, LATE_S))?;
    one("neighbour", python(ROOMY, 300))?;
    one("node", Kind { image: NODE, command: r#""node", "run.js""#, ..shell(ROOMY, 6) })?;
    for format in ["gradescope", "junit", "tap", "ctrf"] {
        let results = format!(
            "format = \"{format}\"\npath = \"/workspace/results\"\nmax_kib = 256\nexpect_tests = {EXPECTED_TESTS}\nmax_score = {EXPECTED_TESTS}\n"
        );
        one(&format!("report-{format}"), Kind { results, ..shell(SMALL, 4) })?;
    }
    let results = format!("{EXIT_CODE}{}", super::results::artifacts::SECTION);
    one(super::results::artifacts::TEMPLATE, Kind { results, ..shell(ROOMY, 10) })?;
    super::grader::write_templates(folder)?;
    super::results::blame::write_templates(folder)?;
    super::results::called::write_template(folder)?;
    super::results::progress::write_template(folder)?;
    one("narrow", shell(NARROW, 4))?;
    one("tight", shell(TIGHT, 8))?;
    one("starved", shell(STARVED, 8))?;
    reaching(folder, registry_port)?;
    let service = folder.join("service");
    std::fs::create_dir_all(service.join("tests"))?;
    std::fs::write(service.join("tests/driver.py"), DRIVER)?;
    std::fs::write(
        service.join("template.toml"),
        format!(
            "description = \"ten questions over HTTP\"\nclass = \"A\"\nimage = \"{PYTHON}\"\n[limits]\n{ROOMY}\
             [[stages]]\nname = \"start\"\ncommand = [\"python3\", \"-I\", \"-u\", \"run.py\"]\ntimeout_s = 5\n\
             ready = {{ port = 8000 }}\n\
             [driver]\nimage = \"{PYTHON}\"\ncommand = [\"python3\", \"-I\", \"-u\", \"/grader/driver.py\"]\n\
             timeout_s = 12\n[driver.limits]\n{ROOMY}\
             [results]\nformat = \"gradescope\"\npath = \"/workspace/results.json\"\nmax_kib = 256\n\
             expect_tests = 10\n[global]\ntimeout_s = 30\n"
        ),
    )
}

/// The template `reaching`: two stages with egress before the tests.
fn reaching(folder: &Path, registry_port: u16) -> std::io::Result<()> {
    let own = folder.join("reaching");
    std::fs::create_dir_all(&own)?;
    let hosts = [
        ("localhost", registry_port),
        ("127.0.0.1", registry_port),
        ("127.0.0.1", NOBODY),
        ("*.assize-attack.invalid", 443),
    ];
    let hosts = hosts.map(|(host, port)| format!("{{ host = \"{host}\", port = {port} }}")).join(", ");
    let stage = |name: &str, timeout_s: u64, more: &str| {
        format!(
            "[[stages]]\nname = \"{name}\"\ncommand = [\"python3\", \"-I\", \"-u\", \"{name}.py\"]\n\
             timeout_s = {timeout_s}\n{more}"
        )
    };
    let egress = format!("egress = [{hosts}]\negress_quota = {{ connections = 300, mib = 1 }}\n");
    std::fs::write(
        own.join("template.toml"),
        format!(
            "description = \"reaching\"\nclass = \"A\"\nimage = \"{PYTHON}\"\n[limits]\n{ROOMY}{}{}{}\
             [results]\n{EXIT_CODE}[global]\ntimeout_s = 60\n",
            stage("install", 20, &egress),
            stage("build", 5, &egress),
            stage("tests", 5, ""),
        ),
    )
}

fn write_one(folder: &Path, name: &str, kind: &Kind) -> std::io::Result<()> {
    let Kind { image, limits, command, timeout_s, results } = kind;
    let own = folder.join(name);
    std::fs::create_dir_all(&own)?;
    let text = format!(
        "description = \"{name}\"\nclass = \"A\"\nimage = \"{image}\"\n[limits]\n{limits}\
         [[stages]]\nname = \"tests\"\ncommand = [{command}]\ntimeout_s = {timeout_s}\n\
         [results]\n{results}[global]\ntimeout_s = {}\n",
        timeout_s + 30
    );
    std::fs::write(own.join("template.toml"), text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_templates_load() {
        let folder = tempfile::tempdir().unwrap();
        super::write(folder.path(), 8081).unwrap();
        let templates = assize::template::Templates::load(folder.path()).unwrap();
        assert_eq!(templates.iter().count(), 27);
        assert!(templates.get("service").unwrap().driver.is_some());
    }
}
