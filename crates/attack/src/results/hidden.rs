//! Text with hidden or reordering characters, on its way to a grader's terminal and an operator's log.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

use crate::case::{Case, CaseOutcome, Group};
use crate::context::AttackContext;

/// One character of each kind: controls of direction, separators, invisible characters, fillers, tags, annotations,
/// selectors.
const HIDING: &str = "\u{61c}\u{200e}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}\u{2029}\u{ad}\u{34f}\u{180b}\u{180e}\u{200b}\
    \u{200d}\u{2060}\u{2064}\u{206a}\u{feff}\u{115f}\u{1160}\u{3164}\u{ffa0}\u{2800}\u{e0001}\u{e0041}\u{e007f}\
    \u{e0100}\u{fe0f}\u{fff9}\u{fffb}\u{7f}\u{85}\u{9b}\u{1d173}\u{e000}";

/// The longest time that a command may take.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

const CONTROL: &str = "escapes in their place, in one filter for terminals, documents and logs";

/// Name, what is tried, the command without the id of the run, and the kind of its output.
const COMMANDS: &[(&str, &str, &str, Printed)] = &[
    ("hidden-status", "names and messages of tests, by `assize status`", "status", Printed::Text),
    ("hidden-watch", "output and names of tests, by `assize watch`", "watch", Printed::Text),
    ("hidden-status-json", "a run and its verdict, by `assize status --json`", "status --json", Printed::Json),
    ("hidden-watch-json", "a run and its verdict, by `assize watch --json`", "watch --json", Printed::Json),
    ("hidden-verdict", "a verdict, by `assize verdict`", "verdict", Printed::Json),
    ("hidden-gradescope", "a verdict as Gradescope's results", "verdict --format gradescope", Printed::Json),
    ("hidden-junit", "a verdict as JUnit", "verdict --format junit", Printed::Xml),
];

/// The kind of a command's output.
#[derive(Clone, Copy, PartialEq)]
enum Printed {
    Text,
    Json,
    Xml,
}

fn id(name: &str) -> String {
    format!("{}/{name}", Group::Results.as_str())
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, tried: &str| {
        Case::new(Group::Results, name, format!("characters that hide or reorder: {tried}"), CONTROL)
    };
    let commands = COMMANDS.iter().map(|(name, tried, ..)| case(name, tried));
    commands
        .chain([
            case("hidden-user", "the name of a user, by `assize runs`"),
            case("hidden-log", "the reason of a failure, in the worker's log"),
        ])
        .collect()
}

pub(super) async fn run(context: &AttackContext) {
    let wanted = cases().into_iter().any(|case| context.wants(&case.id));
    if !wanted {
        return;
    }
    match completed_run(context).await {
        Ok(run) => {
            let run = run.to_string();
            for (name, _, command, printed) in COMMANDS {
                if context.wants(&id(name)) {
                    let words: Vec<&str> = command.split(' ').chain([run.as_str()]).collect();
                    context.record(
                        &id(name),
                        run_client(context, &words, *printed).await.unwrap_or_else(CaseOutcome::Inconclusive),
                    );
                }
            }
            let listed = run_client(context, &["runs", "--limit", "20"], Printed::Text).await;
            context.record(&id("hidden-user"), listed.unwrap_or_else(CaseOutcome::Inconclusive));
        }
        Err(why) => {
            for case in cases() {
                context.record(&case.id, CaseOutcome::Inconclusive(why.clone()));
            }
        }
    }
    if context.wants(&id("hidden-log")) {
        context.record(&id("hidden-log"), logged(context).await.unwrap_or_else(CaseOutcome::Inconclusive));
    }
}

async fn ended(
    context: &AttackContext,
    user: &str,
    template: &str,
    script: &str,
    report: &str,
) -> Result<Uuid, String> {
    let files =
        [("run.sh", script), ("report", report)].map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    let answer = context.submit(user, template, assize_corpus::project(&files)).await?;
    let run = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let run = run.ok_or_else(|| format!("the project was not accepted: {}", answer.summary()))?;
    context.assign_run(run, &cases().into_iter().map(|case| case.id).collect::<Vec<_>>());
    context.ended(run).await?;
    Ok(run)
}

/// Submits a run whose verdict and output contain these characters, and returns it.
async fn completed_run(context: &AttackContext) -> Result<Uuid, String> {
    let report = format!(
        "<testsuite><testcase name=\"one{HIDING}end\"/><testcase name=\"two\">\
         <failure message=\"why{HIDING}end\">text{HIDING}end</failure></testcase></testsuite>"
    );
    // A user's name may contain no control characters, and its hidden characters do not make it another user.
    let user: String = HIDING.chars().filter(|c| !c.is_control()).collect();
    let run =
        ended(context, &format!("hidden{user}"), "report-junit", "cat report; cp report results; exit 1", &report)
            .await?;
    let verdict = context.send(context.request(Method::GET, &format!("/v1/runs/{run}/verdict"))).await?;
    match verdict.body["tests"][0]["name"].as_str() {
        Some(name) if name.contains('\u{202e}') => Ok(run),
        _ => Err(format!("there is nothing hidden in the verdict: {}", verdict.summary())),
    }
}

/// Runs the client: its output must contain no hidden character, and a document must have the value that the service
/// sent.
async fn run_client(context: &AttackContext, words: &[&str], printed: Printed) -> Result<CaseOutcome, String> {
    let as_text = |error: std::io::Error| format!("cannot run this program: {error}");
    let mut command = Command::new(std::env::current_exe().map_err(as_text)?);
    command
        .args(words)
        .env("ASSIZE_URL", format!("http://{}", context.target.address))
        .env("ASSIZE_KEY", &context.target.key);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = match tokio::time::timeout(CLIENT_TIMEOUT, command.output()).await {
        Ok(output) => output.map_err(as_text)?,
        Err(_) => return Err(format!("`assize {}` did not end", words.join(" "))),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if let Some(hidden) = text.chars().find(|c| HIDING.contains(*c)) {
        return Ok(CaseOutcome::Escaped(format!("it printed U+{:04X} as it is", u32::from(hidden))));
    }
    let escape = match printed {
        Printed::Text => "\\u{202e}",
        Printed::Json => "\\u202e",
        Printed::Xml => "&#x202e;",
    };
    if !text.contains(escape) {
        return Err(format!("{escape} is not in what it printed: {}", text.chars().take(200).collect::<String>()));
    }
    let document = String::from_utf8_lossy(&output.stdout);
    let is_same = match printed {
        Printed::Text | Printed::Xml => true,
        Printed::Json => {
            let value: Value =
                serde_json::from_str(&document).map_err(|error| format!("it printed no JSON: {error}"))?;
            value.to_string().contains(HIDING.get(..8).unwrap_or_default())
        }
    };
    Ok(CaseOutcome::contained_if(is_same, format!("{escape} and its like in {} bytes", text.len())))
}

/// Checks how the worker logs a failure whose reason the project wrote.
async fn logged(context: &AttackContext) -> Result<CaseOutcome, String> {
    let report = format!("Bail out! because{HIDING}end\n1..2\nok 1\nok 2\n");
    let run = ended(context, "hidden-log", "report-tap", "cp report results", &report).await?;
    let log = context.target.root.join("log/worker.log");
    let text = std::fs::read_to_string(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let run = run.to_string();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(&run)).collect();
    let Some(line) = lines.iter().find(|line| line.contains("because")) else {
        return Err(format!("none of the run's {} lines quotes the reason", lines.len()));
    };
    Ok(match text.chars().find(|c| HIDING.contains(*c)) {
        Some(hidden) => CaseOutcome::Escaped(format!("the log has U+{:04X} as it is", u32::from(hidden))),
        None if line.contains("202e") => CaseOutcome::Contained("the log quotes the reason with escapes".to_owned()),
        None => CaseOutcome::Inconclusive(format!("the line has no escape: {line}")),
    })
}
