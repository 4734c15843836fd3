//! The table of settings. It yields the struct, the defaults, the parsing by type, the ranges and the documentation.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::setting::SettingType;
use super::{ConfigError, Constants, LogFormat, Range, Setting};

/// Each row: the evaluation plan's own name in brackets if there is one, the key, the type, the default, the range, and
/// the description as whole sentences.
macro_rules! settings {
    ($($([$alias:literal])? $key:ident: $type:ty = $default:expr, $range:expr, $description:literal;)+) => {
        /// Every setting of the service, flat: one TOML key, one environment variable each.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Config {
            $(#[doc = $description] pub $key: $type,)+
            /// What tests set and operators do not.
            #[serde(skip)]
            pub constants: Constants,
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $($key: <$type as SettingType>::from_literal($default),)+
                    constants: Constants::default(),
                }
            }
        }

        /// Every setting, in the order of docs/configuration.md.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: stringify!($key),
            alias: settings!(@alias $($alias)?),
            kind: <$type as SettingType>::KIND,
            range: $range,
            description: $description,
        },)+];

        impl Config {
            /// # Errors
            /// The first setting that is out of range, its value and what the value must be.
            pub(crate) fn check(&self) -> Result<(), ConfigError> {
                $($range.check(stringify!($key), self.$key.value())?;)+
                Ok(())
            }
        }
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
}

const ANY: Range = Range::Any;

const POSITIVE: Range = Range::AtLeast(1);

/// More slots than any host has. The limit prevents sums of half-slots from overflowing.
pub(crate) const MAX_SLOTS: u32 = 100_000;

const SLOTS: Range = Range::Between(1, MAX_SLOTS as u64);

/// At most a hundred years, so that no time is before the first that Postgres can represent.
const DAYS: Range = Range::AtMost(36_500);

/// At most a pebibyte, so that the size in bytes fits 64 bits.
const MIB: Range = Range::AtMost(1 << 30);

/// The kernel's own range of a cgroup's weight.
const WEIGHT: Range = Range::Between(1, 10_000);

const CPU_LIST: Range =
    Range::Format { allows: |list| assize_domain::cpu_list::check(list).is_ok(), must: "empty, none, or like 0-3,8" };

/// The name is a part of container names, cgroup names and Redis keys.
const INSTANCE_NAME: Range = Range::Format { allows: is_instance_name, must: "1 to 40 characters of a-z, 0-9 and -" };

fn is_instance_name(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    (1..=40).contains(&name.len()) && name.chars().all(is_plain)
}

settings! {
    instance: String = "assize", INSTANCE_NAME,
        "The name of this installation. It is a label of the installation's containers \
         and the prefix of its Redis keys.";
    database_url: String = "postgres://assize@localhost/assize", ANY,
        "The address of Postgres, which stores all runs.";
    database_connections: u32 = 8, POSITIVE,
        "The number of connections to Postgres that each process opens at most.";
    database_direct_url: String = "", ANY,
        "The address of Postgres for the commands that change the schema, manage keys or make backups: past a pooler, \
         and as the role that owns the tables. If the setting is empty, `database_url` is used.";
    database_wait_s: u32 = 60, Range::AtMost(3600),
        "The time in seconds for which a process that starts waits for Postgres to answer. 0 means that it tries once.";
    redis_url: String = "redis://127.0.0.1:6379", ANY,
        "The address of Redis, which announces new runs and carries live output. Redis may lose its data at any time.";
    api_listen: String = "127.0.0.1:7700", ANY,
        "The address on which the API listens.";
    api_metrics_listen: String = "127.0.0.1:7701", ANY,
        "The address on which the API serves `/metrics`.";
    trusted_proxies: String = "", ANY,
        "The reverse proxies in front of the API, as addresses or networks separated by commas. \
         The API accepts `X-Forwarded-For` from these alone.";
    max_connections: u32 = 4096, POSITIVE,
        "The number of connections to the API at one time. \
         At the limit, a connection that waits for a request is closed for each new one.";
    max_connections_per_address: u32 = 1024, POSITIVE,
        "The number of connections from one address at one time. Trusted proxies are exempt.";
    max_open_requests_per_key: u32 = 1000, POSITIVE,
        "The number of requests of one key that may be open at one time because they follow live output or `wait`.";
    rate_per_key: u32 = 200, ANY,
        "The average number of requests of one key per second. The requests of 50 s may come at once. \
         Further requests get 429. 0 means no limit.";
    rate_per_address: u32 = 400, ANY,
        "The average number of requests from one address per second, with any key or none. \
         The requests of 50 s may come at once. Further requests get 429. 0 means no limit.";
    wrong_keys_per_minute: u32 = 60, ANY,
        "The number of requests with a wrong key from one address per minute. Further wrong keys get 429; \
         valid keys are still accepted. 0 means no limit.";
    worker_metrics_listen: String = "127.0.0.1:7702", ANY,
        "The address on which the worker serves `/metrics`, `/livez` and `/readyz`.";
    blob_url: String = "file:data/blobs", ANY,
        "Where archives and output are stored: `file:<folder>` or `s3://<bucket>/<prefix>`.";
    spool_dir: PathBuf = "data/spool", ANY,
        "The folder for uploads in progress.";
    templates_dir: PathBuf = "templates", ANY,
        "The folder of the templates.";
    signing_key_file: PathBuf = "data/signing.key", ANY,
        "The private key that signs receipts and ends of runs. The file must have mode 0600. \
         If the setting is empty, nothing is signed.";
    warden_path: PathBuf = "", ANY,
        "The statically linked warden program. If the setting is empty, the program beside `assize` is used.";
    warden_store_dir: PathBuf = "", ANY,
        "The folder where a worker keeps a copy of the warden for its cells, named by its SHA-256. An upgrade of the \
         package cannot change this copy. The Docker engine must see the folder under the same path. \
         If the setting is empty, cells use the warden itself.";
    docker_host: String = "", ANY,
        "The address of the Docker engine. If the setting is empty, `DOCKER_HOST` or else the default socket is used.";
    runtime: String = "", ANY,
        "The OCI runtime of the cells, by the engine's name for it. \
         If the setting is empty, the engine's default is used.";
    apparmor_profile: String = "", ANY,
        "The AppArmor profile of the cells. If the setting is empty, `assize-cell` is used where it is loaded, \
         else the engine's own profile.";
    allow_unenforced_limits: String = "", ANY,
        "The limits that this host cannot enforce and that do not stop the worker, separated by commas. \
         `assize worker --help` explains them.";
    cells_memory_mib: u64 = 0, MIB,
        "The memory of all cells together, in MiB. \
         0 means the memory of the host without a quarter of it, or without 4096 MiB if that is less.";
    cells_pids: u64 = 0, ANY,
        "The number of processes and threads of all cells together. \
         0 means what the host allows without a quarter of it, or without 4096 if that is less.";
    cells_cpu_weight: u64 = 25, WEIGHT,
        "The weight of all cells together when CPU time is short. Everything else on the host has 100.";
    cells_cpuset: String = "", CPU_LIST,
        "The processors on which cells run, like `2-47`. Each cell is bound to few of them. \
         If the setting is empty, cells may run on all processors of the host. `none` binds cells to no processor.";
    npm_registry: String = "", ANY,
        "The address of the npm registry from which templates may install packages. \
         If the setting is empty, there is none.";
    egress_private_hosts: String = "", ANY,
        "The private targets that egress may reach all the same, separated by commas: \
         `host:port`, or ranges like `10.1.0.0/16`.";
    egress_max_connections: u64 = 2_000, ANY,
        "The number of connections that one stage may make.";
    egress_max_mib: u64 = 512, MIB,
        "The data that one stage may exchange over all its connections, both directions together, in MiB.";
    extra_ca_file: PathBuf = "", ANY,
        "A PEM bundle of authorities that stages with egress and fetches of repositories trust. \
         If the setting is empty, they trust those of their image.";
    ["MAX_ACTIVE_EVALUATIONS"] max_active_evaluations: u32 = 40, SLOTS,
        "The number of slots over all workers. A run of class A takes half a slot, of class B one, of class C two.";
    ["MAX_ACTIVE_BROWSER_EVALS"] max_active_browser_evals: u32 = 20, POSITIVE,
        "The number of runs of the classes B and C that may be active over all workers.";
    ["MAX_ACTIVE_API_EVALS"] max_active_api_evals: u32 = 20, POSITIVE,
        "The number of runs of class A that may be active over all workers.";
    ["PER_ORG_MAX_ACTIVE"] per_org_max_active: u32 = 10, POSITIVE,
        "The number of runs of one organisation that may be active.";
    ["PER_USER_MAX_ACTIVE"] per_user_max_active: u32 = 2, POSITIVE,
        "The number of runs of one user of an organisation that may be active.";
    heavy_reserve_after_s: u64 = 60, ANY,
        "The time in seconds after which free slots are reserved for a queued run of class B or C.";
    max_queued: u32 = 100_000, POSITIVE,
        "The number of runs that may be queued in all. Further submissions get 429.";
    per_org_max_queued: u32 = 10_000, POSITIVE,
        "The number of runs of one organisation that may be queued.";
    per_user_max_queued: u32 = 200, POSITIVE,
        "The number of runs of one user of an organisation that may be queued.";
    pause_after_failures: u32 = 5, ANY,
        "The number of distinct submissions that must fail in a row for infrastructure reasons before a worker pauses. \
         Those of one organisation count for half of it at most. 0 means that no worker pauses.";
    min_free_disk_mib: u64 = 2048, MIB,
        "The free disk space in MiB below which submissions get 507 and workers do not claim runs. \
         0 switches the check off.";
    min_available_memory_mib: u64 = 512, ANY,
        "The available memory in MiB below which workers do not claim runs. 0 switches the check off.";
    max_memory_pressure: u32 = 20, ANY,
        "The share of time, in percent, in which all processes stall for memory (PSI over 10 s), \
         above which workers do not claim runs. 0 switches the check off.";
    max_io_pressure: u32 = 80, ANY,
        "The share of time, in percent, in which all processes stall for disks (PSI over 10 s), \
         above which workers do not claim runs. 0 switches the check off.";
    archive_retention_days: u32 = 30, DAYS,
        "The time in days after its last submission for which an archive is stored. 0 means for ever.";
    output_retention_days: u32 = 30, DAYS,
        "The time in days after its end for which the output of a run is stored. 0 means for ever.";
    run_retention_days: u32 = 365, DAYS,
        "The time in days for which an ended run and its events are stored. 0 means for ever.";
    worker_slots: u32 = 0, ANY,
        "The number of slots of this worker. 0 means one per core, but at least 2.";
    max_stage_timeout_s: u64 = 0, ANY,
        "The time in seconds that any stage may take, whatever its template allows. \
         0 means that the template alone decides.";
    drain_timeout_s: u64 = 60, ANY,
        "The time in seconds that active runs may take to end after SIGTERM.";
    max_archive_bytes: u64 = 100 * 1024 * 1024, POSITIVE,
        "The largest size of an uploaded archive, in bytes.";
    max_archive_entries: u64 = 10_000, POSITIVE,
        "The largest number of files and folders in an archive.";
    max_unpacked_bytes: u64 = 512 * 1024 * 1024, POSITIVE,
        "The largest size of all files of an archive together, unpacked, in bytes.";
    max_archive_ratio: u64 = 200, POSITIVE,
        "The largest ratio of unpacked to packed size, of each entry over 1 MiB and of the whole archive.";
    git_hosts: String = "", ANY,
        "The hosts from which repositories may be fetched, separated by spaces: `github.com`, `*.example.org`, \
         `host:port`, or `*` for every public name. If the setting is empty, there are none.";
    output_limit_bytes: u64 = 64 * 1024 * 1024, POSITIVE,
        "The size of the output, in bytes, at which a stage is killed.";
    log: String = "info", ANY,
        "The log filter, for example `info` or `assize=debug`.";
    log_format: LogFormat = LogFormat::Auto, ANY,
        "The format of log lines: `json`, `text`, or `auto` for text on a terminal and JSON elsewhere.";
}
