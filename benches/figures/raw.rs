//! The bare engine: what a run is compared with.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assize::template::{Template, Templates};
use assize_cell::{CellSpec, Engine, Role};
use assize_host::clock::Stopwatch;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt};
use uuid::Uuid;

use crate::installation;

/// Containers with the image and the limits of a run's subject, without assize in them.
pub struct Raw {
    docker: Docker,
    engine: Engine,
    template: Template,
}

/// One container's life.
pub struct Life {
    /// Create and start, as the calls took.
    pub started: Duration,
    /// What it wrote.
    pub output: String,
}

impl Raw {
    /// For the template that the runs have.
    pub async fn like(template: &str) -> Result<Self> {
        let config = installation::config(&installation::templates())?;
        let engine = Engine::connect(&config).await?;
        let docker = Docker::connect_with_defaults()?.negotiate_version().await?;
        let templates = Templates::load(&config.templates_dir)?;
        let template = Template::clone(templates.get(template).context("no such template")?);
        Ok(Self { docker, engine, template })
    }

    /// Removes what a failure left behind.
    pub async fn clear(&self) -> Result<()> {
        for left in self.engine.ours().await? {
            self.engine.remove(&left.id.unwrap_or_default()).await?;
        }
        Ok(())
    }

    /// The subject of a run, but with a namespace of its own, and `script` instead of the warden.
    fn body(&self, script: &str) -> ContainerCreateBody {
        let spec = CellSpec {
            run_id: Uuid::now_v7(),
            attempt: 1,
            worker: "figures",
            role: Role::Subject,
            image: &self.template.image,
            limits: self.template.limits,
            grader_bytes: 0,
            artifact_bytes: 0,
            runtime: None,
            berth: "",
            plan: "",
            place: None,
        };
        let mut body = spec.body(&self.engine);
        if let Some(host) = &mut body.host_config {
            host.network_mode = Some("none".to_owned());
            host.binds = None;
        }
        let command = ["sh", "-c", script].map(str::to_owned);
        ContainerCreateBody {
            entrypoint: Some(Vec::new()),
            cmd: Some(command.into()),
            env: Some(vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()]),
            open_stdin: None,
            stdin_once: None,
            attach_stdin: None,
            attach_stdout: None,
            attach_stderr: None,
            ..body
        }
    }

    /// Create, start, wait, read the log, remove; only the first two are timed.
    pub async fn live(&self, script: &str) -> Result<Life> {
        let body = self.body(script);
        let begun = Stopwatch::start();
        let id = self.create_and_start(body).await?;
        let started = begun.elapsed();
        self.wait(&id).await?;
        let options = LogsOptionsBuilder::new().stdout(true).build();
        let pieces: Vec<LogOutput> = self.docker.logs(&id, Some(options)).try_collect().await?;
        self.remove(&id).await?;
        Ok(Life { started, output: pieces.iter().map(ToString::to_string).collect() })
    }

    /// `lives` containers, `at_once` at one time: create, start, wait, remove. Containers per second.
    pub async fn rate(self: &Arc<Self>, script: &str, lives: usize, at_once: usize) -> Result<f64> {
        let begun = Stopwatch::start();
        let tasks = (0..lives).map(|_| {
            let (raw, body) = (Arc::clone(self), self.body(script));
            async move {
                let life = async move {
                    let id = raw.create_and_start(body).await?;
                    raw.wait(&id).await?;
                    raw.remove(&id).await
                };
                // A task each, so that the loop has all cores as the worker has.
                tokio::spawn(life).await?
            }
        });
        let ended: Vec<Result<()>> = futures_util::stream::iter(tasks).buffer_unordered(at_once).collect().await;
        let taken = begun.elapsed();
        ended.into_iter().collect::<Result<()>>()?;
        Ok(crate::figure::count(lives) / taken.as_secs_f64())
    }

    async fn create_and_start(&self, body: ContainerCreateBody) -> Result<String> {
        let name = format!("{}-{}", self.engine.instance, Uuid::now_v7().simple());
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let id = self.docker.create_container(Some(options), body).await?.id;
        self.docker.start_container(&id, None).await?;
        Ok(id)
    }

    async fn wait(&self, id: &str) -> Result<()> {
        let ended = self.docker.wait_container(id, None).next().await.context("the engine did not wait")??;
        ensure!(ended.status_code == 0, "a bare container ended with {}", ended.status_code);
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        Ok(self.docker.remove_container(id, Some(options)).await?)
    }
}
