//! What the warden itself costs, in its cell.
//!
//! The engine's own start-up runs in the same cgroup, so the cgroup is read when the warden says
//! `Hello` and again when its stage has ended; between the two lie unpacking, the stage and the
//! frames. What the stage's own processes took, as the warden reports it, is taken off.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use assize::template::Templates;
use assize_cell::slice::cgroup_parent;
use assize_cell::{Berths, CellSpec, Engine, Event, Role};
use futures_util::StreamExt;
use uuid::Uuid;

use crate::Scale;
use crate::archives;
use crate::figure::{Figure, count, median};
use crate::installation;

/// The longest that a cell may take for a project that ends at once.
const LIFE_TIMEOUT: Duration = Duration::from_secs(30);

pub async fn measure(scale: Scale) -> Result<Vec<Figure>> {
    let config = installation::config(&installation::templates())?;
    let engine = Engine::connect(&config).await?;
    let berths = Berths::new(engine.clone(), "figures", config.constants.max_runs_per_berth);
    let sampled = sample(scale, &engine, &berths).await;
    berths.close().await;
    for left in engine.ours().await? {
        engine.remove(&left.id.unwrap_or_default()).await?;
    }
    let (cell, stage) = sampled?;
    let (cell, stage) = (median(&cell), median(&stage));
    Ok(vec![Figure::reported("warden_cpu_ms_per_run", cell - stage, "ms").with(format!(
        "the cell from hello to the stage's end {cell:.2} - its processes {stage:.0} (whole ms), medians of {}",
        scale.repetitions
    ))])
}

async fn sample(scale: Scale, engine: &Engine, berths: &Berths) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut cell, mut stage) = (Vec::new(), Vec::new());
    berths.fill(1).await?;
    for _ in 0..scale.repetitions {
        let berth = berths.take().await?;
        let life = tokio::time::timeout(LIFE_TIMEOUT, live(engine, &berth.id)).await;
        let (of_cell, of_stage) = life.context("a cell did not end")??;
        berths.give_back(berth).await;
        cell.push(of_cell);
        stage.push(of_stage);
    }
    Ok((cell, stage))
}

/// CPU of a cell between hello and the end of its stage, and of the stage's processes, in ms.
async fn live(engine: &Engine, berth: &str) -> Result<(f64, f64)> {
    let templates = Templates::load(&installation::templates())?;
    let template = templates.get("trivial").context("no template trivial")?;
    let spec = CellSpec {
        run_id: Uuid::now_v7(),
        attempt: 1,
        worker: "figures",
        role: Role::Subject,
        image: &template.image,
        limits: template.limits,
        grader_bytes: 0,
        artifact_bytes: 0,
        runtime: None,
        berth,
        plan: "",
        place: None,
    };
    let archive = bytes::Bytes::from(archives::padded(&archives::passing_script()?, 10_000)?);
    let mut cell = engine.launch(&spec.name(engine), spec.body(engine), &|| Box::pin(std::future::ready(true))).await?;
    let mut at_hello = None;
    let used = loop {
        match cell.output.next().await? {
            Event::Hello(_) => {
                at_hello = Some(cell_cpu_ms(engine, &cell.id)?);
                let inputs =
                    vec![futures_util::stream::once(std::future::ready(Ok::<_, String>(archive.clone()))).boxed()];
                cell.input.as_mut().context("a cell without stdin")?.deliver(&plan(template), inputs).await?;
            }
            Event::StageEnded(ended) => {
                let before = at_hello.context("a stage ended before hello")?;
                break (cell_cpu_ms(engine, &cell.id)? - before, count(ended.cpu_ms));
            }
            Event::End(end) => bail!("the cell ended without a stage: {end:?}"),
            _ => {}
        }
    };
    engine.remove(&cell.id).await?;
    Ok(used)
}

/// User and system time of a cell so far, in ms, in either version of cgroups.
fn cell_cpu_ms(engine: &Engine, container: &str) -> Result<f64> {
    let parent = cgroup_parent(&engine.instance, engine.cgroup_driver);
    let parent = parent.trim_start_matches('/');
    let root = Path::new("/sys/fs/cgroup");
    if let Ok(nanos) = std::fs::read_to_string(root.join("cpuacct").join(parent).join(container).join("cpuacct.usage"))
    {
        return Ok(count(nanos.trim().parse::<u64>()?) / 1e6);
    }
    let folders = [container.to_owned(), format!("docker-{container}.scope")];
    let stat = folders.iter().map(|folder| root.join(parent).join(folder).join("cpu.stat"));
    let stat: PathBuf = stat.into_iter().find(|path| path.is_file()).context("the cell's cgroup cannot be found")?;
    let text = std::fs::read_to_string(stat)?;
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).context("no usage_usec")?;
    Ok(count(usage.trim().parse::<u64>()?) / 1e3)
}

/// As the worker writes it for this template.
fn plan(template: &assize::template::Template) -> warden_plan::Plan {
    let environment = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/workspace")];
    warden_plan::Plan {
        version: warden_plan::VERSION,
        inputs: vec![warden_plan::Input {
            into: "/workspace".to_owned(),
            max_archive_bytes: 1 << 20,
            max_entries: 100,
            max_bytes: 1 << 20,
            deny_content: Vec::new(),
            names: None,
            before: None,
        }],
        stages: template
            .stages
            .iter()
            .map(|stage| warden_plan::Stage {
                egress: None,
                scratch: None,
                exec: None,
                progress: false,
                name: stage.name.as_str().to_owned(),
                command: stage.command.clone(),
                cwd: "/workspace".to_owned(),
                env: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                timeout_ms: stage.timeout_s * 1000,
                output: warden_plan::OutputLimits { head: 1 << 16, tail: 1 << 16, limit: 1 << 20 },
                ready: None,
            })
            .collect(),
        global_timeout_ms: template.global_timeout_s * 1000,
        grace_ms: 2000,
        results: None,
        artifacts: None,
        disks: Vec::new(),
        writable: ["/workspace", "/tmp", "/dev", "/proc"].map(str::to_owned).into(),
        exec: None,
    }
}

use ::assize_protocol::plan as warden_plan;
