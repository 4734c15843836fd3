//! No secret reaches a log, an answer, a cell or a table: canaries are sent everywhere, at the level
//! that says most, and then looked for.

use reqwest::{Client, Method, Url};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::harness::id_of;
use crate::harness::processes::{PROCESS_TIMEOUT, Process, RedisServer, assize};
use crate::site::{Setup, Site};

/// A word that stands nowhere else.
fn canary(what: &str) -> String {
    format!("canary-{what}-{}", Uuid::now_v7().simple())
}

struct Secrets {
    postgres: String,
    redis: String,
    environment: String,
}

impl Secrets {
    fn new() -> Self {
        Self { postgres: canary("postgres"), redis: canary("redis"), environment: canary("environment") }
    }

    fn all(&self) -> [&str; 3] {
        [&self.postgres, &self.redis, &self.environment]
    }
}

/// Everything on which a run and its reading leave a trace, as text.
struct Seen {
    what: &'static str,
    text: String,
}

impl Seen {
    fn must_not_hold(&self, secrets: &[&str]) {
        for secret in secrets {
            if let Some(at) = self.text.find(secret) {
                let from = self.text[..at].rfind('\n').map_or(0, |line| line + 1);
                let line = self.text[from..].lines().next().unwrap_or_default();
                panic!("{} holds {secret}: {line}", self.what);
            }
        }
    }
}

async fn tables(connection: &mut PgConnection) -> String {
    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let mut text = String::new();
    for table in tables {
        let query = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} AS t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&mut *connection).await.unwrap();
        text.push_str(&format!("{table}: {rows}\n"));
    }
    text
}

/// Sends bytes that no client would; what comes back.
async fn raw(url: &str, bytes: String) -> String {
    let url = Url::parse(url).unwrap();
    let mut socket = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await.unwrap();
    let bytes = bytes.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PROCESS_TIMEOUT, socket.read_to_end(&mut answer)).await.unwrap().ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The key on every route that is described, right and wrong; all answers.
async fn on_every_route(site: &Site, run: Uuid) -> String {
    let http = Client::new();
    let secret = &site.key[40..];
    let document: serde_json::Value = serde_json::from_str(
        &http.get(format!("{}/v1/openapi.json", site.url)).send().await.unwrap().text().await.unwrap(),
    )
    .unwrap();
    let mut answers = String::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{id}", &run.to_string());
            for key in
                [site.key.clone(), format!("assize_{}_{secret}", Uuid::now_v7().simple()), format!("x{}", site.key)]
            {
                let request = http.request(method.clone(), format!("{}{path}", site.url)).bearer_auth(key);
                let answer = request.send().await.unwrap();
                answers.push_str(&format!("{:?}\n", answer.headers()));
                answers.push_str(&answer.text().await.unwrap());
                answers.push('\n');
            }
        }
    }
    answers
}

/// The key where it does not belong; answers to those requests that are not told what they said.
async fn in_wrong_places(site: &Site, run: Uuid) -> String {
    let (key, secret) = (&site.key, &site.key[40..]);
    let mut answers = String::new();
    for request in [
        format!("GET /v1/runs/{secret} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\r\n"),
        format!("GET /{key} HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!("{key} / HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\n{key}\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\nhost: {key}\r\n{key}: {key}\r\n\r\n"),
        format!("GET /livez HTTP/{secret}\r\n\r\n"),
        format!("GET /v1/runs HTTP/1.1\r\nhost: a\r\nauthorization: Basic {key}\r\n\r\n"),
        format!("GET /v1/runs HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key} {key}\r\n\r\n"),
        format!("GET /v1/runs HTTP/1.1\r\nhost: a\r\nauthorization: {key}\r\ncookie: k={key}\r\n\r\n"),
        format!("GET /v1/runs HTTP/1.1\r\nhost: a\r\nx-request-id: \"{key}\"\r\n\r\n"),
        format!("GET /v1/runs?cursor={secret} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\r\n"),
        format!(
            "GET /v1/runs/{run}/output HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\nx-forwarded-for: {key}\r\n\r\n"
        ),
        format!(
            "POST /v1/submissions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\ncontent-length: 9\r\n\
             content-type: multipart/form-data; boundary={secret}\r\n\r\n--{secret}"
        ),
        format!("POST /v1/submissions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{key}\r\n"),
    ] {
        answers.push_str(&raw(&site.url, request).await);
        answers.push('\n');
    }
    // These are told what they said; that goes to nobody else.
    for query in ["ids", "status", "limit", "wait", secret] {
        site.get(&format!("/v1/runs?{query}={secret}")).send().await.unwrap();
        site.get(&format!("/v1/runs/{run}?{query}={secret}")).header("last-event-id", secret).send().await.unwrap();
    }
    for name in ["template", secret] {
        let form = reqwest::multipart::Form::new().text(name.to_owned(), secret.to_owned());
        site.post("/v1/submissions").multipart(form).send().await.unwrap();
    }
    answers
}

#[tokio::test]
async fn no_canary_is_found_in_a_log_an_answer_a_cell_or_a_table() {
    let secrets = Secrets::new();
    let mut redis = RedisServer::start_with_password(Some(secrets.redis.clone()));
    let environment = ["AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "CANARY"].map(|name| (name, secrets.environment.clone()));
    let site = Site::start(Setup {
        redis_url: Some(redis.url()),
        postgres_password: Some(secrets.postgres.clone()),
        settings: vec![("log", "trace".to_owned()), ("log_format", "json".to_owned())],
        environment: environment.to_vec(),
        ..Setup::default()
    });
    let run =
        site.run("script", &[("run.sh", "env; cat /proc/*/environ /proc/*/cmdline; ls -la / /tmp; exit 0")]).await;
    assert_eq!(run["status"], "completed", "{run}");
    let run = id_of(&run);
    let cell = site.text(run, "").await;
    assert!(cell.contains("PATH="), "the cell shows its environment: {cell}");
    let mut answers = on_every_route(&site, run).await;
    answers.push_str(&in_wrong_places(&site, run).await);
    // What is said when a service is gone.
    redis.kill();
    answers.push_str(&format!("{}\n{}\n", site.read(run).await, site.text(run, "").await));
    let ready = Client::new().get(format!("{}/readyz", site.url)).send().await.unwrap();
    answers.push_str(&ready.text().await.unwrap());
    assert!(answers.contains("Redis does not answer"), "it was there: {answers}");
    answers.push_str(&site.worker_metrics().await);

    let secret = &site.key[40..];
    let digest: String = Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect();
    let logs = format!("{}\n{}", site.api.output(), site.worker().output());
    for line in ["\"level\":\"TRACE\"", "request answered", "run claimed", "does not answer", &run.to_string()] {
        assert!(logs.contains(line), "the logs are not what they should be: no {line}");
    }
    let tables = tables(&mut site.database().await).await;
    assert!(tables.contains(&run.to_string()));
    let [postgres, redis, environment] = secrets.all();
    let all = [secret, digest.as_str(), postgres, redis, environment];
    for (what, text) in [("a log", logs), ("an answer", answers), ("a cell", cell)] {
        Seen { what, text }.must_not_hold(&all);
    }
    // The digest of a key's secret is what the table is for.
    Seen { what: "a table", text: tables }.must_not_hold(&[secret, postgres, redis, environment]);
}

// A pool that could be opened lives on a runtime.
#[tokio::test]
async fn an_address_that_cannot_be_read_is_not_quoted_with_its_password() {
    let word = canary("address");
    for address in [
        format!("postgres://u:{word}@[::1/none"),
        format!("postgres://u:{word}@127.0.0.1:port/none"),
        format!("postgres://u:{word}@h/none?sslmode={word}"),
        format!("u:{word}@h"),
        format!("redis://u:{word}@[::1"),
        format!("redis://:{word}@h:port"),
        format!("redis://:{word}@h/{word}"),
        format!("nonsense://u:{word}@h"),
        format!("s3://u:{word}@[bucket"),
        format!("s3://u:{word}@bucket/x"),
        format!("ftp://u:{word}@bucket/x"),
        "s3://".to_owned(),
    ] {
        let errors = [
            assize_store::Store::open(&address, 1).err().map(|error| error.to_string()),
            assize::redis::Redis::open(&address, "x").err().map(|error| error.to_string()),
            assize::intake::blob::Blobs::open(&address).err().map(|error| error.to_string()),
        ];
        for error in errors.into_iter().flatten() {
            assert!(!error.contains(&word), "{error}");
        }
    }
}

#[test]
fn a_settings_file_that_cannot_be_read_is_not_quoted() {
    let word = canary("file");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("assize.toml");
    for text in
        [format!("log = \"info\"\ndatabase_url = \"postgres://u:{word}@h/x"), format!("\ndatabase_url = '{word}\n")]
    {
        std::fs::write(&path, text).unwrap();
        let mut process = Process::start("assize", assize(&[]).arg("--config").arg(&path).arg("migrate"));
        process.exit(PROCESS_TIMEOUT);
        let text = process.output();
        assert!(text.contains("line 2: "), "{text}");
        Seen { what: "what a process says", text }.must_not_hold(&[&word]);
    }
}

#[test]
fn a_process_that_cannot_start_keeps_its_passwords() {
    let secrets = Secrets::new();
    let [postgres, redis, environment] = secrets.all();
    let good_redis = "redis://127.0.0.1:6379".to_owned();
    let good_postgres = std::env::var("DATABASE_URL").unwrap();
    let addresses = [
        (format!("postgres://u:{postgres}@127.0.0.1:1/none"), format!("redis://:{redis}@127.0.0.1:1")),
        (format!("postgres://u:{postgres}@127.0.0.1:1/none?sslmode={postgres}"), format!("redis://u:{redis}@[::1")),
        (format!("postgres://u:{postgres}@[::1/none"), format!("nonsense://{redis}")),
        (format!("u:{postgres}"), format!("redis://:{redis}@127.0.0.1:port")),
        (good_postgres, format!("redis://:{redis}@127.0.0.1:1/{redis}")),
        (format!("postgres://u:{postgres}@127.0.0.1:port/none"), good_redis),
    ];
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name).display().to_string();
    for (database_url, redis_url) in addresses {
        let settings = [
            ("database_url", database_url),
            ("database_wait_s", "0".to_owned()),
            ("redis_url", redis_url),
            ("log", "trace".to_owned()),
            ("api_listen", "127.0.0.1:0".to_owned()),
            ("api_metrics_listen", "127.0.0.2:0".to_owned()),
            ("worker_metrics_listen", "127.0.0.2:0".to_owned()),
            ("templates_dir", inside("templates")),
            ("blob_url", format!("s3://u:{environment}@bucket")),
            ("spool_dir", inside("spool")),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        for arguments in [["api", "--lifeline"].as_slice(), &["worker", "--lifeline"], &["migrate"], &["key", "list"]] {
            if arguments[0] == "migrate" && settings[0].1.contains("host=") {
                // It would succeed, in the database of all tests.
                continue;
            }
            let mut command = assize(&settings);
            let mut process =
                Process::start("assize", command.env("AWS_SECRET_ACCESS_KEY", environment).args(arguments));
            process.exit(PROCESS_TIMEOUT * 2);
            let text = process.output();
            assert!(!text.is_empty(), "{arguments:?} says why");
            Seen { what: "what a process says", text }.must_not_hold(&[postgres, redis, environment]);
        }
    }
}
