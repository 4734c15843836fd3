//! The short commands about runs and templates: `watch`, `status`, `cancel`, `runs` and `templates`.

use serde_json::Value;
use uuid::Uuid;

use crate::client::{ServerOptions, read};
use crate::outcome::{Exit, Outcome};
use crate::report::{self, Run, exit_of, points, print_summary, style_of, verdict_of};
use crate::terminal::{self, Style, Terminal, printable};
use assize_domain::run::Status;

/// Follow a run until it ends, and print its stages, its output and its verdict.
///
/// The exit code is that of the run; `assize --help` lists the codes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize watch 01936f2e-7c1a-7000-8000-000000000001\n  assize watch $RUN --json | jq .verdict"
)]
pub struct Watch {
    /// The id of the run, as `assize submit` and `assize runs` print it.
    run: Uuid,
    /// Print the run and its verdict as one JSON document. Progress goes to stderr.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Show the state of a run, or how it ended.
///
/// If the run has ended, the exit code is that of the run, otherwise 0; `assize --help` lists the codes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize status 01936f2e-7c1a-7000-8000-000000000001\n  assize status $RUN --json | jq -r .status"
)]
pub struct Show {
    /// The id of the run, as `assize submit` and `assize runs` print it.
    run: Uuid,
    /// Print the run as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Cancel a run.
///
/// A queued run ends at once, and an active run within seconds. A run that has ended does not change.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  assize cancel 01936f2e-7c1a-7000-8000-000000000001")]
pub struct Cancel {
    /// The id of the run, as `assize submit` and `assize runs` print it.
    run: Uuid,
    /// Print the response of the service as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// List the newest runs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize runs\n  assize runs --status failed --limit 100\n  assize runs --json | jq '.runs[].id'"
)]
pub struct Runs {
    /// List only runs in this state.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Status::ALL.iter().map(|status| status.as_str())))]
    status: Option<String>,
    /// List at most this many runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    /// Print the response of the service as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// List the templates that a project can be evaluated with.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  assize templates\n  assize templates --json")]
pub struct ListTemplates {
    /// Print the response of the service as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Runs `assize watch`.
///
/// # Errors
/// A [`Fault`](crate::outcome::Fault) with a message for the user.
pub async fn watch(command: Watch) -> Outcome {
    report::watch(&command.server.client()?, command.run, command.json).await
}

/// Runs `assize status`.
///
/// # Errors
/// A [`Fault`](crate::outcome::Fault) with a message for the user.
pub async fn status(command: Show) -> Outcome {
    let client = command.server.client()?;
    let (run, mut document) = Run::fetch(&client, command.run).await?;
    let verdict = verdict_of(&client, &run).await?;
    let exit = exit_of(&run, verdict.as_ref().map(|(verdict, _)| verdict));
    if command.json {
        if let (Some(fields), Some((_, raw))) = (document.as_object_mut(), verdict) {
            fields.insert("verdict".to_owned(), raw);
        }
        terminal::json(&document);
        return Ok(exit);
    }
    let terminal = Terminal::stdout();
    terminal.line(format!("run      {}", run.id));
    terminal.line(format!("status   {}", terminal.paint(style_of(run.status), run.state_text())));
    terminal.line(format!("template {}", printable(&run.template)));
    terminal.line(format!("user     {}", printable(&run.user)));
    terminal.line(format!("attempt  {}", run.attempt));
    if run.status.is_terminal() {
        print_summary(terminal, &run, verdict.as_ref().map(|(verdict, _)| verdict));
    } else if let Some(queue) = &run.queue {
        terminal.line(format!("queue    {}", queue.phrase()));
        terminal.line(format!("         {}", printable(&queue.detail)));
        if let Some(start) = queue.estimated_start {
            terminal.line(format!("start    about {}", start.format("%F %T UTC")));
        }
    }
    Ok(exit)
}

/// Runs `assize cancel`.
///
/// # Errors
/// A [`Fault`](crate::outcome::Fault) with a message for the user.
pub async fn cancel(command: Cancel) -> Outcome {
    let client = command.server.client()?;
    let answer = client.cancel(command.run).await?;
    if command.json {
        terminal::json(&answer);
        return Ok(Exit::Success);
    }
    let run: Run = read("run", answer.get("run").unwrap_or(&answer))?;
    let terminal = Terminal::stdout();
    match run.status {
        Status::Aborted => terminal.line(format!("run {} is cancelled", run.id)),
        status if status.is_terminal() => {
            terminal.line(format!("run {} had ended before: {}", run.id, run.state_text()))
        }
        _ => terminal.line(format!("run {} will stop; it is {}", run.id, run.state_text())),
    }
    Ok(Exit::Success)
}

/// Runs `assize runs`.
///
/// # Errors
/// A [`Fault`](crate::outcome::Fault) with a message for the user.
pub async fn list(command: Runs) -> Outcome {
    let client = command.server.client()?;
    let status = command.status.map_or_else(String::new, |status| format!("&status={status}"));
    let answer = client.get(&format!("/v1/runs?limit={}{status}", command.limit)).await?;
    if command.json {
        terminal::json(&answer);
        return Ok(Exit::Success);
    }
    let runs: Vec<Run> = read("list of runs", items(&answer, "runs"))?;
    let terminal = Terminal::stdout();
    if runs.is_empty() {
        terminal.line("no runs");
        return Ok(Exit::Success);
    }
    let rows = runs.iter().map(|run| {
        let score = match (run.score, run.max_score) {
            (Some(score), Some(most)) => format!("{}/{}", points(score), points(most)),
            _ => String::new(),
        };
        let result = run.failure.as_ref().map_or(score, |failed| failed.code.to_string());
        vec![
            (Style::Plain, run.id.to_string()),
            (Style::Plain, printable(&run.template)),
            (Style::Plain, printable(&run.user)),
            (style_of(run.status), run.state_text()),
            (Style::Plain, result),
            (Style::Dim, run.took().unwrap_or_default()),
            (Style::Dim, run.submitted_at.map_or_else(String::new, |at| at.format("%F %T").to_string())),
        ]
    });
    terminal.table(&["run", "template", "user", "status", "result", "took", "submitted (UTC)"], rows.collect());
    Ok(Exit::Success)
}

/// Runs `assize templates`.
///
/// # Errors
/// A [`Fault`](crate::outcome::Fault) with a message for the user.
pub async fn templates(command: ListTemplates) -> Outcome {
    let answer = command.server.client()?.get("/v1/templates").await?;
    if command.json {
        terminal::json(&answer);
        return Ok(Exit::Success);
    }
    let templates: Vec<Value> = read("list of templates", items(&answer, "templates"))?;
    let text = |template: &Value, key: &str| match template.get(key) {
        Some(Value::String(text)) => printable(text),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let rows = templates.iter().map(|template| {
        ["name", "class", "integrity", "description"].map(|key| (Style::Plain, text(template, key))).to_vec()
    });
    Terminal::stdout().table(&["template", "class", "integrity", "description"], rows.collect());
    Ok(Exit::Success)
}

/// Returns the list in a response: the field of this name, or the response itself.
pub fn items<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer.get(name).or_else(|| answer.get("items")).unwrap_or(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_found_under_its_name() {
        let list = serde_json::json!([1]);
        assert_eq!(items(&serde_json::json!({ "runs": [1] }), "runs"), &list);
        assert_eq!(items(&list, "runs"), &list);
    }
}
