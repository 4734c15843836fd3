use assize_protocol::plan::{OutputLimits, VERSION};

use super::*;

fn stage(program: &str, path: &str) -> Stage {
    Stage {
        name: StageName::Tests.as_str().to_owned(),
        command: vec![program.to_owned()],
        cwd: WORKSPACE.to_owned(),
        env: [("PATH".to_owned(), path.to_owned())].into(),
        timeout_ms: 1,
        output: OutputLimits { head: 1, tail: 1, limit: 1 },
        ready: None,
        egress: None,
        scratch: None,
        exec: None,
        progress: false,
    }
}

fn plan(program: &str) -> Plan {
    Plan {
        version: VERSION,
        inputs: Vec::new(),
        stages: vec![stage(program, crate::worker::plan::PATH)],
        global_timeout_ms: 60_000,
        grace_ms: 1,
        results: None,
        artifacts: None,
        disks: Vec::new(),
        writable: Vec::new(),
        exec: None,
    }
}

#[test]
fn a_program_is_the_projects_where_the_project_can_put_it() {
    let usual = crate::worker::plan::PATH;
    for (program, path, is_theirs) in [
        ("pytest", usual, false),
        ("/usr/bin/pytest", usual, false),
        ("/grader/run", usual, false),
        ("./gradlew", usual, true),
        ("bin/run", usual, true),
        ("/workspace/gradlew", usual, true),
        ("/tmp/tests", usual, true),
        ("/usr/../workspace/x", usual, true),
        ("jest", "/workspace/node_modules/.bin:/usr/bin", true),
        ("jest", "node_modules/.bin:/usr/bin", true),
        ("jest", "/usr/local/bin:/usr/bin:", false),
    ] {
        assert_eq!(runs_project_files(&stage(program, path)), is_theirs, "{program} in {path}");
    }
}

#[test]
fn a_failure_is_attributed_to_whoever_could_have_caused_it() {
    use FailureCode::{
        BuildFailed, CellLost, DriverFailed, GlobalTimeout, InstallFailed, OutOfMemory, RegistryUnreachable,
        StageTimeout, StartFailed, TestsInterrupted,
    };
    let (strict, lenient) = (DriverPolicy { scores_zero: false }, DriverPolicy { scores_zero: true });
    let (in_image, in_project) = (plan("pytest"), plan("./gradlew"));
    let quiet = FailureContext::for_plan(&in_image);
    let hosts = |hosts: HeardOf| FailureContext { hosts, ..quiet.clone() };
    let ran = FailureContext { has_run: true, ..quiet.clone() };
    let theirs = FailureContext::for_plan(&in_project);
    let away = hosts(HeardOf { outage: Some("away".to_owned()), ..HeardOf::default() });
    let forbidden = hosts(HeardOf { forbidden: Some("private".to_owned()), ..HeardOf::default() });
    let stalled = hosts(HeardOf { stall: Some("stalled".to_owned()), ..HeardOf::default() });
    let cases: [(&dyn SessionPolicy, FailureCode, &FailureContext<'_>, FailureCode); 17] = [
        (&SubjectPolicy, InstallFailed, &away, RegistryUnreachable),
        (&SubjectPolicy, BuildFailed, &forbidden, RegistryUnreachable),
        (&SubjectPolicy, BuildFailed, &stalled, BuildFailed),
        (&SubjectPolicy, InstallFailed, &quiet, InstallFailed),
        (&SubjectPolicy, StartFailed, &away, StartFailed),
        (&SubjectPolicy, OutOfMemory, &ran, OutOfMemory),
        (&SubjectPolicy, DriverFailed, &quiet, DriverFailed),
        (&SubjectPolicy, DriverFailed, &ran, TestsInterrupted),
        (&SubjectPolicy, DriverFailed, &theirs, TestsInterrupted),
        (&strict, OutOfMemory, &quiet, DriverFailed),
        (&strict, DriverFailed, &ran, DriverFailed),
        (&strict, StageTimeout, &quiet, StageTimeout),
        (&strict, GlobalTimeout, &quiet, GlobalTimeout),
        (&strict, CellLost, &quiet, CellLost),
        (&lenient, OutOfMemory, &quiet, OutOfMemory),
        (&lenient, DriverFailed, &ran, DriverFailed),
        (&lenient, CellLost, &quiet, CellLost),
    ];
    for (policy, code, context, attributed) in cases {
        let failure = policy.attribute(Failure::new(code, "why"), context);
        assert_eq!(failure.code, attributed, "{:?} {code} {context:?}", policy.role());
        assert!(failure.evidence.message.contains("why"));
    }
}

#[test]
fn only_a_driver_that_scores_zero_tolerates_the_projects_failures() {
    for (code, tolerated) in
        [(FailureCode::OutOfMemory, true), (FailureCode::DriverFailed, false), (FailureCode::CellLost, false)]
    {
        let failure = Failure::new(code, "");
        assert_eq!(DriverPolicy { scores_zero: true }.tolerates(&failure), tolerated, "{code}");
        assert!(!DriverPolicy { scores_zero: false }.tolerates(&failure), "{code}");
        assert!(!SubjectPolicy.tolerates(&failure), "{code}");
    }
}

#[test]
fn an_input_that_is_rejected_is_the_fault_of_whoever_made_it() {
    use FailureCode::{ArchiveRejected, CellLost, GlobalTimeout, OutOfDisk, TemplateInvalid, TestsInterrupted};
    let early = RejectionContext {
        has_run: false,
        elapsed: Duration::from_secs(1),
        global_timeout: Duration::from_secs(60),
        workspace_mib: 64,
    };
    let ran = RejectionContext { has_run: true, ..early };
    let late = RejectionContext { elapsed: Duration::from_secs(60), ..ran };
    let rejected = |input| EndStatus::Rejected { input, reason: "it is a bomb".to_owned() };
    let full = |input| EndStatus::DiskFull { input, path: "/workspace".to_owned() };
    let spoiled = || EndStatus::Spoiled { input: 1, reason: "it is a link".to_owned() };
    for (status, context, subject, driver) in [
        (rejected(0), early, ArchiveRejected, TemplateInvalid),
        (rejected(0), late, ArchiveRejected, TemplateInvalid),
        (rejected(1), early, TemplateInvalid, TemplateInvalid),
        (rejected(1), ran, TestsInterrupted, TemplateInvalid),
        (rejected(1), late, GlobalTimeout, TemplateInvalid),
        (full(0), early, OutOfDisk, TemplateInvalid),
        (full(1), early, TemplateInvalid, TemplateInvalid),
        (full(1), late, TestsInterrupted, TemplateInvalid),
        (spoiled(), ran, TestsInterrupted, TestsInterrupted),
        (EndStatus::Done, ran, CellLost, CellLost),
        (EndStatus::Fault { error: String::new() }, ran, CellLost, CellLost),
    ] {
        let label = format!("{status:?} {context:?}");
        assert_eq!(SubjectPolicy.rejection(status.clone(), &context).code, subject, "{label}");
        assert_eq!(DriverPolicy::default().rejection(status, &context).code, driver, "{label}");
    }
}
