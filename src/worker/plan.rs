//! The plans of a run's cells, made from its template.

use std::collections::BTreeMap;

use assize_cell::Role;
use assize_cell::engine::WARDEN_IN_CELL;
use assize_cell::spec::{GRADER, GRADER_BYTES, GRADER_ENTRIES, TMP, WORKSPACE, WRITABLE};
use assize_config::Config;
use assize_domain::run::StageName;
use assize_protocol::exec::{self, ExecClient, ExecService, Fresh, Secret};
use assize_protocol::plan::{GRACE_MS, Input, OutputLimits, Plan, Ready, ResultsFile, Scratch, Stage, VERSION};
use assize_protocol::progress;

use super::egress;
use crate::template::{self, CASES_REPORT, DriverKind, MAX_PARAMETERS_BYTES, Progress, Template};

/// How long the copy of the workspace for fresh calls may take, in ms.
const CALLS_READY_MS: u64 = 60_000;

/// The folders besides the workspace that a call can write to; fresh calls find them empty.
const SCRATCH: [&str; 2] = [TMP, "/dev/shm"];

/// The folders of programs in every image.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The plan of the subject: the project's stages, and the tests too if the template has no driver.
pub fn subject(template: &Template, config: &Config) -> Plan {
    let limits = template.scan_limits(config);
    let mut inputs = vec![Input {
        into: WORKSPACE.to_owned(),
        max_archive_bytes: limits.max_archive_bytes,
        // All that the workspace can hold, because folders that no entry names count here too.
        max_entries: template.limits.workspace_inodes,
        max_bytes: limits.max_unpacked_bytes,
        deny_content: limits.types.deny_content,
        names: Some(limits.names),
        before: None,
    }];
    if template.driver.is_none() && !template.bundle.is_empty() {
        inputs.push(Input { before: Some(unpacked_before(template)), ..grader(template) });
    }
    inputs.extend(egress::input(template, config));
    let reports = |stage: &template::Stage| stage.name == StageName::Tests && has_progress(template);
    let stages = template.stages.iter().map(|stage| Stage {
        name: stage.name.as_str().to_owned(),
        command: stage.command.clone(),
        cwd: WORKSPACE.to_owned(),
        env: environment(template, egress::environment(stage, config), &with_progress(&stage.env, reports(stage))),
        timeout_ms: capped(stage.timeout_s, config),
        output: output(config),
        ready: stage.ready.as_ref().map(|ready| Ready { port: ready.port, http: ready.http.clone() }),
        egress: egress::proxy(template, stage),
        scratch: scratch(template, stage),
        exec: None,
        progress: reports(stage),
    });
    let calls = template.driver.as_ref().filter(|_| template.is_called()).map(|driver| calls(template, driver, config));
    plan(template, Role::Subject, inputs, stages.chain(calls).collect())
}

/// The stage that serves the calls of a driver. For the run, it is the project's start.
fn calls(template: &Template, driver: &template::Driver, config: &Config) -> Stage {
    let limits = template.limits;
    let fresh = driver.fresh.then(|| Fresh {
        // The copy lies in the memory of the cell, beside the workspace itself.
        max_bytes: (limits.workspace_mib << 20).min(limits.memory_mib << 19),
        max_entries: limits.workspace_inodes,
        emptied: SCRATCH.map(str::to_owned).into(),
    });
    Stage {
        name: StageName::Start.as_str().to_owned(),
        command: Vec::new(),
        cwd: WORKSPACE.to_owned(),
        env: environment(template, BTreeMap::new(), &BTreeMap::new()),
        timeout_ms: CALLS_READY_MS,
        output: output(config),
        ready: None,
        egress: None,
        scratch: None,
        exec: Some(ExecService { port: exec::PORT, fresh }),
        progress: false,
    }
}

/// The plan of the driver: one stage, the grader's tests. `secret` is what the subject's warden has reported, if it serves
/// calls.
pub fn driver(template: &Template, driver: &template::Driver, secret: Option<Secret>, config: &Config) -> Plan {
    let mut env = environment(template, BTreeMap::new(), &with_progress(&driver.env, has_progress(template)));
    if let Some(port) = template.port() {
        env.insert("SUBJECT_URL".to_owned(), format!("http://127.0.0.1:{port}"));
    }
    if secret.is_some() {
        let path = env.get("PATH").map_or(PATH, String::as_str);
        env.insert("PATH".to_owned(), format!("{}:{path}", exec::FOLDER));
        env.insert(exec::SOCKET_VARIABLE.to_owned(), format!("{}/{}", exec::FOLDER, exec::SOCKET));
    }
    let stage = Stage {
        name: StageName::Tests.as_str().to_owned(),
        command: tests_command(driver, config),
        cwd: WORKSPACE.to_owned(),
        env,
        timeout_ms: capped(driver.timeout_s, config),
        output: output(config),
        ready: None,
        egress: None,
        scratch: None,
        exec: None,
        progress: has_progress(template),
    };
    let exec = secret.map(|secret| ExecClient { port: exec::PORT, secret, folder: exec::FOLDER.to_owned() });
    Plan { exec, ..plan(template, Role::Driver, vec![grader(template)], vec![stage]) }
}

fn plan(template: &Template, role: Role, inputs: Vec<Input>, stages: Vec<Stage>) -> Plan {
    let decides = role == Role::Driver || template.driver.is_none();
    let results = template
        .results
        .path
        .as_ref()
        .filter(|_| decides)
        .map(|path| ResultsFile { path: path.clone(), max_bytes: template.results.max_kib * 1024 });
    Plan {
        version: VERSION,
        inputs,
        stages,
        global_timeout_ms: template.global_timeout_s * 1000,
        grace_ms: GRACE_MS,
        results,
        artifacts: template.artifacts.rules_of(role),
        disks: vec![WORKSPACE.to_owned(), TMP.to_owned()],
        writable: WRITABLE.map(str::to_owned).into(),
        exec: None,
    }
}

/// Whether the tests may report the end of each test.
fn has_progress(template: &Template) -> bool {
    template.results.progress != Progress::Off
}

/// The environment of a stage, with the number of the descriptor for its reports.
fn with_progress(own: &BTreeMap<String, String>, reports: bool) -> BTreeMap<String, String> {
    let variable = reports.then(|| (progress::FD_VARIABLE.to_owned(), progress::FD.to_string()));
    own.clone().into_iter().chain(variable).collect()
}

/// The tests of a driver: its own command, or the warden's that runs the cases.
fn tests_command(driver: &template::Driver, config: &Config) -> Vec<String> {
    match driver.kind {
        DriverKind::Command => driver.command.clone(),
        DriverKind::Cases => {
            let timeout_ms = capped(driver.timeout_s, config).to_string();
            [WARDEN_IN_CELL, "cases", GRADER, CASES_REPORT, &timeout_ms].map(str::to_owned).into()
        }
    }
}

/// The number of the stage before which a shared cell gets the grader's tests: the tests, or the service that runs
/// beside them. Later there is no time at which no process of the project is alive.
fn unpacked_before(template: &Template) -> u8 {
    let waits = |stage: &template::Stage| matches!(stage.name, StageName::Start | StageName::Tests);
    u8::try_from(template.stages.iter().position(waits).unwrap_or_default()).unwrap_or(u8::MAX)
}

/// A home and temporary files for tests that run where the project's stages ran, so that the grader's programs do not
/// read by default what these stages left in `/workspace` and `/tmp`.
fn scratch(template: &Template, stage: &template::Stage) -> Option<Scratch> {
    let is_shared = template.driver.is_none() && stage.name == StageName::Tests;
    let own = |name: &&str| !stage.env.contains_key(*name);
    let variables: Vec<String> = ["HOME", "TMPDIR"].into_iter().filter(own).map(str::to_owned).collect();
    is_shared.then(|| Scratch { into: TMP.to_owned(), variables })
}

/// The grader's tests, if there are any, and the parameters of the run.
fn grader(template: &Template) -> Input {
    Input {
        into: GRADER.to_owned(),
        // The parameters of a run differ in length, and the plan must not: a cell is adopted by its plan.
        max_archive_bytes: template.bundle.len() as u64 + 2 * MAX_PARAMETERS_BYTES,
        max_entries: GRADER_ENTRIES,
        max_bytes: GRADER_BYTES,
        deny_content: Vec::new(),
        names: None,
        before: None,
    }
}

fn environment(
    template: &Template,
    egress: BTreeMap<String, String>,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut env: BTreeMap<_, _> = [("PATH", PATH), ("HOME", WORKSPACE), ("TMPDIR", TMP), ("LANG", "C.UTF-8")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    if let Some(port) = template.port() {
        env.insert("PORT".to_owned(), port.to_string());
    }
    env.extend(egress);
    env.extend(own.clone());
    env
}

fn output(config: &Config) -> OutputLimits {
    let constants = config.constants;
    OutputLimits {
        head: constants.output_head_bytes,
        tail: constants.output_tail_bytes,
        limit: config.output_limit_bytes,
    }
}

/// A timeout in ms, capped by the setting `max_stage_timeout_s`.
pub fn capped(timeout_s: u64, config: &Config) -> u64 {
    let most = if config.max_stage_timeout_s == 0 { u64::MAX } else { config.max_stage_timeout_s };
    timeout_s.min(most) * 1000
}
