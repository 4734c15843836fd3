//! `assize inspect report`: what a run would come to, without a service.

use serde_json::Value;

use crate::{project, run, text};

const PASSED: &str = "<testsuite><testcase classname='a' name='t'/></testsuite>";
const FAILED: &str = "<testsuite><testcase classname='b' name='t'><failure message='1 != 2'/></testcase></testsuite>";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A template of which the report is all that matters.
fn template(results: &str) -> String {
    format!(
        "description = 'd'\nclass = 'A'\nimage = 'i'\n\
         limits = {{ cpus = 1.0, memory_mib = 64, pids = 16, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 }}\n\
         stages = [{{ name = 'tests', command = ['true'], timeout_s = 1 }}]\n\
         global = {{ timeout_s = 10 }}\nresults = {{ {results} }}\n"
    )
}

#[test]
fn a_report_is_read_without_a_template() {
    let folder = project(&[("a.xml", PASSED), ("b.xml", FAILED)]);
    let [a, b] = ["a.xml", "b.xml"].map(|name| folder.path().join(name));
    let said = run(&["inspect", "report", text(&b), "--format", "junit"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("b.t") && said.out.contains("1 != 2") && said.out.contains("0 of 1 points"),
        "{}",
        said.out
    );
    let said = run(&["inspect", "report", text(&b), text(&a), "--format", "junit", "--json"]);
    let read = json(&said.out);
    assert_eq!((said.code, &read["all_passed"]), (0, &Value::Bool(false)));
    assert_eq!((&read["verdict"]["score"], &read["verdict"]["max_score"]), (&1.0.into(), &2.0.into()));
    assert_eq!(read["verdict"]["tests"][0]["name"], "a.t");
}

#[test]
fn a_refusal_has_its_code_message_and_advice() {
    let folder = project(&[("a.xml", "<html/>"), ("b.xml", PASSED)]);
    let [a, b] = ["a.xml", "b.xml"].map(|name| folder.path().join(name));
    let said = run(&["inspect", "report", text(&a), "--format", "junit", "--json"]);
    let refusal = json(&said.out);
    assert_eq!(
        (said.code, &refusal["code"], &refusal["cause"], &refusal["accepted"]),
        (1, &"results_invalid".into(), &"grader".into(), &false.into())
    );
    assert!(refusal["message"].as_str().unwrap().contains("its root is <html>"), "{refusal}");
    assert!(refusal["advice"].as_str().unwrap().contains("write JUnit XML"), "{refusal}");
    let said = run(&["inspect", "report", text(&b), text(&a), "--format", "junit"]);
    assert_eq!(said.code, 1);
    assert!(
        said.out.contains("refused: results_invalid") && said.out.contains("a.xml: the report is XML"),
        "{}",
        said.out
    );
}

#[test]
fn a_template_says_how_a_report_is_read() {
    let folder = project(&[("a.xml", PASSED), ("b.xml", FAILED)]);
    let of = |results: &str| {
        let path = folder.path().join("template.toml");
        std::fs::write(path, template(results)).unwrap();
        text(folder.path()).to_owned()
    };
    let [a, b] = ["a.xml", "b.xml"].map(|name| folder.path().join(name));
    let several = of("format = 'junit', path = '/tmp/*.xml', expect_tests = 2");
    let said = run(&["inspect", "report", text(&a), text(&b), "--template", &several, "--json"]);
    assert_eq!((said.code, &json(&said.out)["verdict"]["integrity"]), (0, &"shared".into()), "{}", said.err);
    let said = run(&["inspect", "report", text(&a), "--template", &several]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("it has 1 tests, the template expects 2"), "{}", said.out);
    let one = of("format = 'junit', path = '/tmp/a.xml'");
    let said = run(&["inspect", "report", text(&a), text(&b), "--template", &one]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("the template reads one file (/tmp/a.xml)"), "{}", said.err);
    let short = of("format = 'junit', path = '/tmp/a.xml', max_kib = 1");
    std::fs::write(&b, " ".repeat(2000)).unwrap();
    let said = run(&["inspect", "report", text(&b), "--template", &short]);
    assert!(said.code == 1 && said.out.contains("over the limit of 1024"), "{}", said.out);
}

#[test]
fn wrong_usage_is_no_refusal() {
    let folder = project(&[("a.xml", PASSED)]);
    let a = folder.path().join("a.xml");
    std::fs::write(folder.path().join("template.toml"), template("format = 'exit_code'")).unwrap();
    for (arguments, why) in [
        (vec![text(&a)], "--format"),
        (vec![text(&a), "--format", "exit_code"], "exit_code"),
        (vec!["--format", "junit"], "FILE"),
        (vec!["/no/such/file", "--format", "junit"], "cannot read /no/such/file"),
        (vec![text(folder.path()), "--format", "junit"], "it is not a file"),
        (vec![text(&a), "--template", text(folder.path())], "reads no report"),
        (vec![text(&a), "--template", "no-such-template"], "no-such-template"),
    ] {
        let said = run(&[&["inspect", "report"], arguments.as_slice()].concat());
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.out);
        assert!(said.err.contains(why), "{arguments:?}: {}", said.err);
    }
}
