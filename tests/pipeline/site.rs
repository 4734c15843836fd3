//! An installation of a test's own, or one that many tests share.

pub mod database;
mod failure;

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;

use assize::installation::{Settings, keys};
use assize::maintenance::stale_cgroups;
use assize_cell::Engine;
use assize_cell::counters::Cgroups;
use assize_config::Config;
use assize_host::clock::Stopwatch;
use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use reqwest::multipart::Form;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

pub use self::database::{postgres_socket, with_database};
pub use self::failure::{failure, message};
use crate::harness::processes::{Process, assize, check_warden};
use crate::harness::{id_of, json, zip_part, zips};
use crate::templates;

/// No run of these tests takes as long.
pub const RUN: Duration = Duration::from_secs(40);

/// What a test may choose.
#[derive(Default)]
pub struct Setup {
    /// `REDIS_URL` if absent.
    pub redis_url: Option<String>,
    /// Those of [`templates`] if absent.
    pub templates_dir: Option<PathBuf>,
    pub settings: Vec<(&'static str, String)>,
    /// Where the processes find the socket of Postgres, if not where the tests do.
    pub postgres_folder: Option<PathBuf>,
    /// What the processes send to Postgres, which asks for none.
    pub postgres_password: Option<String>,
    /// Of the processes, besides that of the tests.
    pub environment: Vec<(&'static str, String)>,
    /// Of each worker.
    pub worker_arguments: Vec<&'static str>,
    /// Whether the processes have the roles of `postgres/roles.sql`; otherwise they are the owner of everything.
    pub roles: bool,
}

pub struct Site {
    pub instance: String,
    pub database_url: String,
    pub settings: Vec<(String, String)>,
    pub environment: Vec<(&'static str, String)>,
    worker_arguments: Vec<&'static str>,
    roles: bool,
    pub templates_dir: PathBuf,
    pub url: String,
    pub key: String,
    pub api: Process,
    worker: Option<Process>,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Site {
    pub fn start(setup: Setup) -> Self {
        check_warden();
        let name = Uuid::now_v7().simple().to_string();
        let instance = format!("t{name}");
        let database = format!("assize_{name}");
        let roles = setup.roles;
        let (database_url, key) = apart(async move {
            if roles { database::make_with_roles(database).await } else { database::make(database).await }
        });
        let folder = tempfile::tempdir().unwrap();
        let templates_dir = setup.templates_dir.unwrap_or_else(|| {
            let templates_dir = folder.path().join("templates");
            templates::write(&templates_dir);
            templates_dir
        });
        let mut settings = Settings::in_folder(folder.path())
            // However busy and full the host of the tests is.
            .ignoring_host_load()
            .with("instance", &instance)
            .with("database_url", &database_url)
            .with("redis_url", setup.redis_url.unwrap_or_else(redis_url))
            .with("templates_dir", templates_dir.display())
            // The address distinguishes the two listeners of one process.
            .with("api_listen", "127.0.0.1:0")
            .with("api_metrics_listen", "127.0.0.2:0")
            .with("worker_metrics_listen", "127.0.0.2:0")
            .with("worker_slots", 4)
            // All runs of a test belong to one user, and none of these tests is about that.
            .with("per_org_max_active", 1000)
            .with("per_user_max_active", 1000)
            .with("max_active_browser_evals", 1000)
            .with("max_active_api_evals", 1000);
        for (name, value) in setup.settings {
            settings = settings.with(name, value);
        }
        keys::ensure_signing_key(&Settings::signing_key_file(folder.path())).unwrap();
        if let Some(folder) = setup.postgres_folder {
            let real = postgres_socket();
            let seen =
                database_url.replace(&real.parent().unwrap().display().to_string(), &folder.display().to_string());
            assert_ne!(seen, database_url, "DATABASE_URL names no socket folder");
            settings = settings.with("database_url", seen);
        }
        if let Some(password) = setup.postgres_password {
            let seen = settings.get("database_url").unwrap().replacen('@', &format!(":{password}@"), 1);
            assert!(seen.contains(&password), "DATABASE_URL names no user");
            settings = settings.with("database_url", seen);
        }
        let settings: Vec<_> = settings.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let environment = setup.environment;
        let mut command = assize(&settings);
        let command = command.envs(environment.clone()).envs(role_of("api", roles, &settings));
        let api = Process::start("assize api", command.args(["api", "--lifeline"]));
        // A connection lives on the runtime of the test that opened it: none is kept for another.
        let client = Client::builder().timeout(Duration::from_secs(90)).pool_max_idle_per_host(0).build().unwrap();
        let url = format!("http://127.0.0.1:{}", api.port_on([127, 0, 0, 1]));
        let (worker, _folder) = (None, folder);
        let mut site = Self {
            instance,
            database_url,
            settings,
            environment,
            worker_arguments: setup.worker_arguments,
            roles,
            templates_dir,
            url,
            key,
            api,
            worker,
            client,
            _folder,
        };
        site.start_worker();
        site
    }

    pub fn start_worker(&mut self) {
        self.worker = Some(self.spawn_worker());
        self.worker().wait_for("worker ready");
    }

    pub fn spawn_worker(&self) -> Process {
        let mut command = assize(&self.settings);
        let command = command.envs(self.environment.clone()).envs(role_of("worker", self.roles, &self.settings));
        let command = command.args(["worker", "--lifeline"]);
        Process::start("assize worker", command.args(&self.worker_arguments))
    }

    pub fn worker(&self) -> &Process {
        self.worker.as_ref().unwrap()
    }

    pub async fn worker_metrics(&self) -> String {
        self.metrics_of(self.worker()).await
    }

    pub async fn api_metrics(&self) -> String {
        self.metrics_of(&self.api).await
    }

    async fn metrics_of(&self, process: &Process) -> String {
        let port = process.port_on([127, 0, 0, 2]);
        self.client.get(format!("http://127.0.0.2:{port}/metrics")).send().await.unwrap().text().await.unwrap()
    }

    pub fn take_worker(&mut self) -> Process {
        self.worker.take().unwrap()
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    pub async fn submit(&self, template: &str, files: &[(&str, &str)]) -> Uuid {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        self.submit_archive(template, zips::zip(&files)).await
    }

    pub async fn submit_archive(&self, template: &str, archive: Vec<u8>) -> Uuid {
        let form =
            Form::new().text("template", template.to_owned()).text("user", "ada").part("archive", zip_part(archive));
        let response = self.post("/v1/submissions").multipart(form).send().await.unwrap();
        let status = response.status();
        let body = json(response).await;
        assert_eq!(status, 202, "{body}");
        id_of(&body["run"])
    }

    pub async fn cancel(&self, run: Uuid) -> u16 {
        self.post(&format!("/v1/runs/{run}/cancel")).send().await.unwrap().status().as_u16()
    }

    pub async fn read(&self, run: Uuid) -> Value {
        json(self.get(&format!("/v1/runs/{run}")).send().await.unwrap()).await
    }

    /// The run as it ended.
    pub async fn ended(&self, run: Uuid) -> Value {
        let begun = Stopwatch::start();
        loop {
            let seen = json(self.get(&format!("/v1/runs/{run}?wait=20")).send().await.unwrap()).await;
            if !seen["finished_at"].is_null() {
                return seen;
            }
            assert!(begun.elapsed() < RUN, "no end of {seen}");
        }
    }

    /// Submits and waits for the end.
    pub async fn run(&self, template: &str, files: &[(&str, &str)]) -> Value {
        self.ended(self.submit(template, files).await).await
    }

    /// Waits until the run is in this state, or has passed it.
    pub async fn reached(&self, run: Uuid, status: &str) {
        self.until(&format!("{run} is {status}"), async || {
            self.events(run).await.iter().any(|(_, to, _)| to == status)
        })
        .await;
    }

    /// Waits until something holds that the service announces to nobody.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let begun = Stopwatch::start();
        let mut look = tokio::time::interval(Duration::from_millis(10));
        while !holds().await {
            assert!(begun.elapsed() < RUN, "it never came that {what}");
            look.tick().await;
        }
    }

    /// All output of a run, or of one stage, as text.
    pub async fn text(&self, run: Uuid, query: &str) -> String {
        self.get(&format!("/v1/runs/{run}/output?format=text{query}")).send().await.unwrap().text().await.unwrap()
    }

    /// All output of a run in one of the formats.
    pub async fn text_as(&self, run: Uuid, format: &str) -> String {
        self.get(&format!("/v1/runs/{run}/output?format={format}")).send().await.unwrap().text().await.unwrap()
    }

    pub async fn verdict(&self, run: Uuid) -> Value {
        json(self.get(&format!("/v1/runs/{run}/verdict")).send().await.unwrap()).await
    }

    pub async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.database_url).await.unwrap()
    }

    /// Every move of a run: attempt, state, failure code.
    pub async fn events(&self, run: Uuid) -> Vec<(i32, String, Option<String>)> {
        let query = "SELECT attempt, to_status, failure_code FROM run_events
            WHERE run_id = $1 AND from_status IS DISTINCT FROM to_status ORDER BY id";
        sqlx::query_as(query).bind(run).fetch_all(&mut self.database().await).await.unwrap()
    }

    /// The states that a run went through.
    pub async fn states(&self, run: Uuid) -> Vec<String> {
        self.events(run).await.into_iter().map(|(_, status, _)| status).collect()
    }

    /// Ids of this installation's containers: those of one run, or with `None` all but berths.
    pub async fn cells(&self, run: Option<Uuid>) -> Vec<String> {
        let all = containers(&self.instance).await;
        let label = |container: &ContainerSummary, name: &str| {
            container.labels.as_ref().and_then(|labels| labels.get(name).cloned()).unwrap_or_default()
        };
        all.into_iter()
            .filter(|container| match run {
                Some(run) => label(container, "assize.run") == run.to_string(),
                None => label(container, "assize.cell") != "berth",
            })
            .filter_map(|container| container.id)
            .collect()
    }
}

/// The address of the database for a process that has a role of its own.
fn role_of(process: &str, roles: bool, settings: &[(String, String)]) -> Option<(&'static str, String)> {
    let (_, url) = settings.iter().find(|(name, _)| name == "database_url").filter(|_| roles)?;
    let seen = url.replacen("//assize@", &format!("//assize_{process}@"), 1);
    assert_ne!(&seen, url, "DATABASE_URL names no user assize");
    Some(("ASSIZE_DATABASE_URL", seen))
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        self.worker.take();
        let (instance, url) = (self.instance.clone(), self.database_url.clone());
        self.api.terminate();
        apart(async move {
            for container in containers(&instance).await {
                remove(&container.id.unwrap()).await;
            }
            // A worker that was killed leaves it behind.
            let config = Config { instance, warden_path: "/proc/self/exe".into(), ..Config::default() };
            if let Ok(engine) = Engine::connect(&config).await {
                stale_cgroups::remove_parents(&Cgroups::detect(&engine).await.unwrap());
            }
            database::delete(&url).await;
        });
    }
}

impl Site {
    fn show(&self) {
        eprintln!("--- api\n{}", self.api.tail());
        if let Some(worker) = &self.worker {
            eprintln!("--- worker\n{}", worker.tail());
        }
    }
}

/// One site for every test that harms nothing; gone when the last of them lets go.
pub struct Shared(Arc<Site>);

impl Deref for Shared {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.show();
        }
    }
}

pub fn shared() -> Shared {
    static SITE: LazyLock<Mutex<Weak<Site>>> = LazyLock::new(Mutex::default);
    let mut site = SITE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Shared(site.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Site::start(Setup::default()));
        *site = Arc::downgrade(&started);
        started
    }))
}

pub fn redis_url() -> String {
    std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned())
}

pub fn docker() -> Docker {
    Docker::connect_with_defaults().unwrap()
}

/// Every container with this instance label.
pub async fn containers(instance: &str) -> Vec<ContainerSummary> {
    let label = HashMap::from([("label", vec![format!("assize.instance={instance}")])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
    docker().list_containers(Some(options)).await.unwrap()
}

pub async fn remove(container: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    // Its own worker may be at it.
    docker().remove_container(container, Some(options)).await.ok();
}

/// Does something on a runtime that no test's end takes away.
fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    });
    thread.join().unwrap()
}

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
