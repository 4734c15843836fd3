//! The one list of settings: what the README shows, and which names are known.

/// A setting as the README shows it: key, default, what it is.
pub struct Setting {
    pub key: &'static str,
    /// The plan's own name, accepted beside `ASSIZE_<KEY>`.
    pub alias: Option<&'static str>,
    pub what: &'static str,
}

const fn setting(key: &'static str, what: &'static str) -> Setting {
    Setting { key, alias: None, what }
}

/// Every setting, in the order of the README's table.
pub const SETTINGS: &[Setting] = &[
    setting("instance", "name of this installation: label of its containers, prefix of its Redis keys"),
    setting("database_url", "Postgres, the only truth"),
    setting("database_connections", "connections per process"),
    setting("redis_url", "Redis, the doorbell and the live output; may be lost at any time"),
    setting("api_listen", "address of the API"),
    setting("api_metrics_listen", "address of the API's /metrics"),
    setting(
        "trusted_proxies",
        "proxies before the API, addresses or networks separated by commas; their X-Forwarded-For is believed",
    ),
    setting("max_connections", "connections of the API at one time; past it those that wait for a head make room"),
    setting("max_connections_per_address", "connections of one address; trusted proxies are exempt"),
    setting("max_held_per_key", "requests that one key may hold open at one time: live output, and `wait`"),
    setting("rate_per_key", "requests of one key per second, in the long run; past it 429; 0: no limit"),
    setting("rate_burst_per_key", "requests of one key that may come at once"),
    setting("rate_per_address", "requests of one address per second, with any key or none; 0: no limit"),
    setting("rate_burst_per_address", "requests of one address that may come at once"),
    setting(
        "wrong_keys_per_minute",
        "wrong keys from one address, after which more get 429; a valid key is heard; 0: no limit",
    ),
    setting("worker_metrics_listen", "address of the worker's /metrics, /livez and /readyz"),
    setting("blob_url", "where archives and output are kept: `file:<folder>` or `s3://<bucket>/<prefix>`"),
    setting("spool_dir", "folder for uploads in progress"),
    setting("templates_dir", "folder of the templates"),
    setting(
        "signing_key_file",
        "private key that signs receipts and ends of runs, mode 0600; empty: nothing is signed",
    ),
    setting("warden_path", "the static warden binary; empty: beside the assize binary"),
    setting("docker_host", "the engine's address; empty: DOCKER_HOST, else the default socket"),
    setting("runtime", "OCI runtime of the cells, as the engine names it; empty: the engine's default"),
    setting(
        "apparmor_profile",
        "AppArmor profile of the cells; empty: `assize-cell` where it is loaded, else the engine's own",
    ),
    setting(
        "allow_unenforced",
        "limits that may fail to hold here without stopping the worker, separated by commas; `assize worker --help`",
    ),
    setting(
        "cells_memory_mib",
        "MiB of memory that all cells may have together; 0: the host's less a quarter, of which at most 4096 are kept",
    ),
    setting("cells_pids", "processes that all cells may have together; 0: the host's less a quarter, at most 4096"),
    setting(
        "cells_cpu_weight",
        "weight of all cells together when CPU time is short, 1 to 10000; everything else on the host has 100",
    ),
    setting(
        "cells_processors",
        "processors that cells run on, each bound to few, like `2-47`; empty: all of the host; `none`: bound to nothing",
    ),
    setting("npm_registry", "address of the npm registry that templates may install from; empty: none"),
    setting(
        "egress_private_hosts",
        "`host:port` and ranges like `10.1.0.0/16` that egress may reach although they are private, between commas",
    ),
    setting("egress_max_connections", "connections that one stage may make"),
    setting("egress_max_mib", "MiB that one stage may exchange over them, both ways together"),
    setting("egress_upload_mib", "MiB that one run may send; they stand in the journal of its cell, so at most 16"),
    setting(
        "extra_ca_file",
        "PEM bundle that stages with egress and fetches of repositories trust; empty: what their image trusts",
    ),
    Setting {
        key: "max_active_evaluations",
        alias: Some("MAX_ACTIVE_EVALUATIONS"),
        what: "slots over all workers (a class A run takes half a slot, B one, C two)",
    },
    Setting {
        key: "max_active_browser_evals",
        alias: Some("MAX_ACTIVE_BROWSER_EVALS"),
        what: "runs of class B and C that may be active over all workers",
    },
    Setting {
        key: "max_active_api_evals",
        alias: Some("MAX_ACTIVE_API_EVALS"),
        what: "runs of class A that may be active over all workers",
    },
    Setting {
        key: "per_org_max_active",
        alias: Some("PER_ORG_MAX_ACTIVE"),
        what: "runs of one organisation that may be active",
    },
    Setting {
        key: "per_user_max_active",
        alias: Some("PER_USER_MAX_ACTIVE"),
        what: "runs of one user of an organisation that may be active",
    },
    setting("heavy_patience_s", "seconds after which slots are kept free for a waiting run of class B or C"),
    setting("max_queued", "runs that may wait in all; past it submissions get 429"),
    setting("per_org_max_queued", "runs of one organisation that may wait"),
    setting("per_user_max_queued", "runs of one user of an organisation that may wait"),
    setting(
        "pause_after_failures",
        "distinct submissions in a row that fail for the infrastructure's own faults before a worker pauses, those of one organisation for half at the most; 0: never",
    ),
    setting(
        "min_free_disk_mib",
        "free MiB below which submissions get 507 and workers claim nothing; 0: not looked at",
    ),
    setting("min_available_memory_mib", "available MiB of memory below which workers claim nothing; 0: not looked at"),
    setting(
        "max_memory_pressure",
        "percent of time that all processes stalled for memory (PSI, 10 s) above which workers claim nothing; 0: not looked at",
    ),
    setting("max_io_pressure", "the same for disks"),
    setting("keep_archives_days", "days that an archive is kept after its last submission; 0: for ever"),
    setting("keep_output_days", "days that the output of a run is kept after its end; 0: for ever"),
    setting("keep_runs_days", "days that an ended run and its events are kept; 0: for ever"),
    setting("worker_slots", "slots of this worker; 0: one per core, at least 2"),
    setting("engine_creates", "cells being created or started at one time; 0: two per core"),
    setting("berth_max_runs", "runs after which a berth is replaced"),
    setting(
        "max_stage_timeout_s",
        "seconds that any stage may take, whatever its template says; 0: as the template says",
    ),
    setting("drain_timeout_s", "seconds that running evaluations may take to end after SIGTERM"),
    setting("max_archive_bytes", "bytes of an uploaded archive"),
    setting("max_archive_entries", "files and folders in an archive"),
    setting("max_unpacked_bytes", "bytes of all its files, unpacked"),
    setting("max_archive_ratio", "unpacked to packed size of an entry over 1 MiB, and of the whole"),
    setting(
        "git_hosts",
        "hosts that repositories may be fetched from, separated by spaces: `github.com`, `*.example.org`, `host:port`, `*` for every public name; empty: none",
    ),
    setting(
        "output_head_bytes",
        "first bytes kept of a stage's output, sent live; at most 4194304, for they stand in the journal of its cell",
    ),
    setting("output_tail_bytes", "last bytes kept of a stage's output; at most 4194304"),
    setting("output_limit_bytes", "bytes of output after which a stage is killed"),
    setting("log", "log filter, as in `info` or `assize=debug`"),
    setting("log_format", "`auto` (text on a terminal, JSON elsewhere), `json` or `text`"),
];
