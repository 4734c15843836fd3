//! Solutions by someone who read the assignments and nothing else.

use futures_util::future::join_all;

use crate::harness::{id_of, zips};
use crate::site::{Setup, Site, repository};

#[tokio::test]
async fn a_solution_written_from_the_assignment_alone_has_full_marks() {
    let settings = vec![("worker_slots", "2".to_owned())];
    let site = Site::start(Setup { templates_dir: Some(repository("templates")), settings, ..Setup::default() });
    let cases = [
        ("python-api", "app.py", 10.0, "isolated"),
        ("node-api", "server.js", 10.0, "isolated"),
        ("python-unit", "rational.py", 10.0, "shared"),
    ];
    let runs = join_all(cases.map(async |(template, file, ..)| {
        let text = std::fs::read(repository("tests/data/strangers").join(template).join(file)).unwrap();
        site.ended(site.submit_archive(template, zips::zip(&[(file, &text)])).await).await
    }))
    .await;
    for (run, (template, _, score, integrity)) in runs.iter().zip(cases) {
        let verdict = if run["status"] == "completed" { site.verdict(id_of(run)).await } else { run.clone() };
        assert_eq!(
            (run["score"].as_f64(), run["max_score"].as_f64()),
            (Some(score), Some(score)),
            "{template}: {verdict:#}"
        );
        assert_eq!(verdict["integrity"], integrity, "{template}");
    }
}
