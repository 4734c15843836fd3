//! An API for one test, with its own port, database, blob store and names in Redis.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod client;
pub mod contract;
pub mod gate;
pub mod locks;
pub mod logs;
pub mod pgbouncer;
pub mod processes;
pub mod sse;
pub mod zips;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use assize::admission::{QueueQuotas, WaitReasonCache};
use assize::api::{self, ApiState, Timeouts};
use assize::intake::blob::Blobs;
use assize::redis::{Hints, Redis};
use assize::template::LiveTemplates;
use assize_config::Config;
use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_domain::run::{Lease, StageName};
use assize_domain::verdict::{Integrity, Verdict, from_exit_code};
use assize_host::clock::Clock;
use assize_host::service_manager::LoopTurns;
use assize_signing::{PrivateKey, key_file};
use assize_store::Store;
use assize_store::keys::NewKey;
use assize_store::queue::Wanted;
use chrono::{DateTime, Utc};
use reqwest::multipart::{Form, Part};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use client::{ApiClient, ApiRequest};

/// The time limit of every wait in a test. Only a broken test reaches it.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub const TEMPLATE: &str = r#"
    description = "Unit tests"
    class = "B"
    image = "assize/unit"
    limits = { cpus = 1.0, memory_mib = 64, pids = 16, workspace_mib = 16, workspace_inodes = 100, tmp_mib = 8 }
    stages = [{ name = "tests", command = ["true"], timeout_s = 1 }]
    results = { format = "exit_code" }
    global = { timeout_s = 10 }
"#;

/// What a test can choose before the server starts.
pub struct Setup {
    pub timeouts: Timeouts,
    pub redis_url: String,
    /// The prefix of the names in Redis; `None` is a prefix for this server only.
    pub instance: Option<String>,
    pub config: Config,
    /// The socket to accept connections from; `None` is a socket of its own.
    pub listener: Option<std::net::TcpListener>,
    /// The text of the template `unit`.
    pub template: &'static str,
    /// The maximum age of the cached reason why a run waits. Most tests read a state that they changed just before.
    pub oldest_answer: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        let redis_url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
        // Tests must pass however full the disk is.
        let config = Config {
            max_archive_bytes: 1 << 20,
            max_archive_entries: 20,
            min_free_disk_mib: 0,
            // Tests may send many wrong keys.
            wrong_keys_per_minute: 100_000,
            ..Config::default()
        };
        let timeouts = Timeouts::default();
        let (instance, listener, oldest_answer) = (None, None, Duration::ZERO);
        Self { timeouts, redis_url, instance, config, listener, template: TEMPLATE, oldest_answer }
    }
}

/// A running API, and the services that it uses.
pub struct Server {
    pub url: String,
    pub address: std::net::SocketAddr,
    pub client: ApiClient,
    pub store: Store,
    pub redis: Redis,
    pub hints: Hints,
    pub blobs: Blobs,
    pub pool: PgPool,
    pub organization: Uuid,
    /// A key of `organization` with the role submit.
    pub key: String,
    pub stop: CancellationToken,
    pub served: JoinHandle<anyhow::Result<()>>,
    folder: tempfile::TempDir,
}

impl Server {
    pub async fn start(pool: PgPool) -> Self {
        Self::start_with(pool, Setup::default()).await
    }

    pub async fn start_with(pool: PgPool, setup: Setup) -> Self {
        Self::start_on(Store::on(pool.clone()), pool, setup).await
    }

    /// Starts a server that uses `store`, while the test reads the database through `pool`.
    pub async fn start_on(store: Store, pool: PgPool, setup: Setup) -> Self {
        logs::capture();
        let folder = tempfile::tempdir().unwrap();
        let templates = folder.path().join("templates");
        std::fs::create_dir_all(templates.join("unit")).unwrap();
        std::fs::write(templates.join("unit/template.toml"), setup.template).unwrap();
        let blobs = Blobs::open(&format!("file:{}", folder.path().join("blobs").display())).unwrap();
        let instance = setup.instance.unwrap_or_else(|| format!("t{}", Uuid::now_v7().simple()));
        let redis = Redis::open(&setup.redis_url, &instance).unwrap();
        let signing_key = folder.path().join("signing.key");
        key_file::create(&signing_key, &PrivateKey::generate()).unwrap();
        let (hints, stop) = (Hints::default(), CancellationToken::new());
        tokio::spawn(redis.clone().listen(hints.clone(), None, stop.clone()));
        let state = ApiState {
            clock: Clock::system(),
            store: store.clone(),
            redis: redis.clone(),
            hints: hints.clone(),
            blobs: blobs.clone(),
            templates: LiveTemplates::load(&templates).unwrap(),
            quotas: QueueQuotas::new(store.clone(), Clock::system(), &setup.config),
            wait_reasons: WaitReasonCache::with_max_age(
                store.clone(),
                Clock::system(),
                &setup.config,
                setup.oldest_answer,
            ),
            signer: assize::signing_key::open(&signing_key, &store).await.ok().flatten(),
            config: Arc::new(Config { spool_dir: folder.path().join("spool"), ..setup.config }),
        };
        let listener = setup.listener.unwrap_or_else(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let served =
            tokio::spawn(api::serve_within(setup.timeouts, state, listener, LoopTurns::default(), stop.clone()));
        let client = ApiClient::new();
        let organization = Store::on(pool.clone()).ensure_organization("school").await.unwrap();
        let url = format!("http://{address}");
        let key = String::new();
        let mut server =
            Self { url, address, client, store, redis, hints, blobs, pool, organization, key, stop, served, folder };
        server.key = server.key_with(organization, KeyRole::Submit, None).await;
        server
    }

    /// Returns the folder with its blobs and its spool.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until hints arrive.
    pub async fn connected(&self) {
        until(|| self.hints.is_connected()).await;
    }

    pub async fn key_with(&self, organization: Uuid, role: KeyRole, expires_at: Option<DateTime<Utc>>) -> String {
        let minted = key::mint();
        let secret_sha256 = &minted.secret_sha256;
        let new = NewKey { id: minted.id, organization_id: organization, role, secret_sha256, label: "", expires_at };
        Store::on(self.pool.clone()).insert_key(new).await.unwrap();
        minted.text().to_owned()
    }

    /// Creates a key of another organisation, which owns nothing.
    pub async fn stranger(&self) -> String {
        let other = self.store.ensure_organization("elsewhere").await.unwrap();
        self.key_with(other, KeyRole::Admin, None).await
    }

    pub fn get(&self, path: &str) -> ApiRequest {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    pub fn post(&self, path: &str) -> ApiRequest {
        self.client.post(format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    pub fn submit(&self, form: Form) -> ApiRequest {
        self.post("/v1/submissions").multipart(form)
    }

    /// Creates a valid submission and returns the id of its run.
    pub async fn queued(&self) -> Uuid {
        let response = self.submit(good_form()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        id_of(&json(response).await["run"])
    }

    /// Inserts runs without uploads, the oldest first.
    pub async fn insert_runs(&self, count: usize) -> Vec<Uuid> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let (id, run_id) = (Uuid::now_v7(), Uuid::now_v7());
            let new = assize_store::submissions::NewSubmission {
                id,
                run_id,
                organization_id: self.organization,
                user: "ada",
                template: "unit",
                half_slots: 2,
                source: assize_store::submissions::NewSource::Archive {
                    sha256: &"0".repeat(64),
                    bytes: 1,
                    entries: 1,
                    contents: &serde_json::json!({}),
                },
                metadata: &serde_json::json!({}),
                idempotency: None,
                receipt: None,
            };
            self.store.insert_submission(&new).await.unwrap();
            ids.push(run_id);
        }
        ids
    }

    /// Claims the oldest queued run.
    pub async fn claim(&self) -> Lease {
        let none = Config {
            max_active_browser_evals: 1000,
            per_org_max_active: 1000,
            per_user_max_active: 1000,
            ..Config::default()
        };
        let caps = assize::admission::caps(&none);
        let wanted = Wanted { worker_half_slots: 100, worker_capacity: 100, caps, most: 1 };
        self.store.claim_runs("worker", wanted).await.unwrap()[0].lease()
    }

    /// Claims the oldest queued run and starts its stage tests.
    pub async fn running(&self) -> Lease {
        let lease = self.claim().await;
        self.store.start_run(lease, StageName::Tests).await.unwrap();
        lease
    }

    /// Completes a running run with the full score, and returns its verdict.
    pub async fn complete(&self, lease: Lease) -> Verdict {
        let verdict = from_exit_code(0, Integrity::Shared);
        self.store.parse_run(lease).await.unwrap();
        self.store
            .complete_run(lease, &verdict, None, &assize_domain::artifact::RunArtifacts::default())
            .await
            .unwrap();
        verdict
    }

    /// Counts the rows of submissions, runs and idempotency keys, the blobs, and the files in the spool.
    pub async fn left_behind(&self) -> (i64, i64, i64, usize, usize) {
        let counts: (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM project_submissions), (SELECT count(*) FROM project_evaluation_runs),
                    (SELECT count(*) FROM idempotency_keys)",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        let files = |name: &str| files_under(&self.folder.path().join(name)).len();
        (counts.0, counts.1, counts.2, files("blobs"), files("spool"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let walk = ignore::WalkBuilder::new(folder).standard_filters(false).build();
    walk.filter_map(Result::ok).map(ignore::DirEntry::into_path).filter(|path| path.is_file()).collect()
}

/// A complete form with a valid archive.
pub fn good_form() -> Form {
    form_with(zips::good())
}

/// A complete form of this user.
pub fn good_form_of(user: &str) -> Form {
    Form::new().text("template", "unit").text("user", user.to_owned()).part("archive", zip_part(zips::good()))
}

pub fn form_with(archive: Vec<u8>) -> Form {
    Form::new().text("template", "unit").text("user", "ada").part("archive", zip_part(archive))
}

pub fn zip_part(bytes: Vec<u8>) -> Part {
    Part::bytes(bytes).file_name("project.zip")
}

pub async fn json(response: Response) -> Value {
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

pub fn id_of(value: &Value) -> Uuid {
    value["id"].as_str().unwrap().parse().unwrap()
}

/// Checks that an answer is a problem document with this status and code, and returns the document.
pub async fn problem(response: Response, status: u16, code: &str) -> Value {
    let seen = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    assert!(response.headers().contains_key("x-request-id"));
    let body = json(response).await;
    assert_eq!((seen, body["code"].as_str()), (status, Some(code)), "{body}");
    assert_eq!(kind.as_deref(), Some("application/problem+json"));
    assert_eq!(body["type"], format!("urn:assize:problem:{code}"));
    assert_eq!(body["status"], status);
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    body
}

/// Repeats a request until it returns true, for a state whose change is not announced.
pub async fn asked_until(ask: impl AsyncFn() -> bool) {
    let asked = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while !ask().await {
            look.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap();
}

/// Polls a condition until it holds, for a state whose change is not announced.
pub async fn until(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waited).await.unwrap();
}
