//! For every file of `crates/store/sql/queries`: arguments that it is called with, and what it may cost.

use uuid::Uuid;

use crate::crowd::Crowd;
use crate::rows::WORKER;

/// What a statement may touch, however large the tables are.
#[derive(Debug, Clone, Copy)]
pub enum Cost {
    /// Rows by their keys.
    Probe,
    /// So many rows, one after the other, from where an index says that they begin.
    Page(u64),
    /// Everything that is active: no more than the slots of all workers. A fenced write too may
    /// find its row through that small index.
    Active,
    /// More than that, and why that is right; the rows, and whether a table may be read to its end.
    Exception { rows: u64, whole_table: bool, why: &'static str },
}

/// Runs that are active in the crowd, and as many that a lock or an update looks at again.
const ACTIVE: u64 = 2 * 40;

impl Cost {
    /// The most rows that may be fetched.
    pub const fn rows(self) -> u64 {
        match self {
            // The row, and the same row again through a second index or a foreign key.
            Self::Probe => 4,
            Self::Page(rows) => rows + 1,
            Self::Active => ACTIVE,
            Self::Exception { rows, .. } => rows,
        }
    }

    /// The most pages of 8 KiB that may be looked at: for each row its own and those of an index of
    /// four levels; for a write those of every index.
    pub const fn buffers(self) -> u64 {
        match self {
            Self::Probe => 80,
            other => 80 + 5 * other.rows(),
        }
    }

    /// Why it may cost what it does.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Probe => "it is found by its key",
            Self::Page(_) => "a page is as long as it is asked for",
            Self::Active => "no more is active than there are slots",
            Self::Exception { why, .. } => why,
        }
    }

    pub const fn may_scan(self) -> bool {
        matches!(self, Self::Exception { whole_table: true, .. })
    }
}

pub struct Sample {
    pub query: &'static str,
    /// As SQL, between the parentheses of EXECUTE.
    pub arguments: String,
    pub cost: Cost,
}

fn sample(query: &'static str, arguments: impl Into<String>, cost: Cost) -> Sample {
    Sample { query, arguments: arguments.into(), cost }
}

fn array(ids: &[Uuid]) -> String {
    let ids: Vec<_> = ids.iter().map(Uuid::to_string).collect();
    format!("'{{{}}}'", ids.join(","))
}

pub fn samples(crowd: &Crowd) -> Vec<Sample> {
    let Crowd { organization, name, key, idempotency_key, submission, ended, submitted_at, .. } = crowd;
    let Crowd { queued, preparing, running, parsing, .. } = crowd;
    let top = Uuid::max();
    let new = "gen_random_uuid()";
    let message = r#"'{"message": "why"}'"#;
    let file = r#"{"origin": "driver", "name": "a.txt", "sha256": "0000000000000000000000000000000000000000000000000000000000000003",
        "bytes": 1, "media_type": "text/plain", "visibility": "visible"}"#;
    let submitted = format!("{new}, '{organization}', 'user', 'trivial', repeat('a', 64), 1, 1, '{{}}', 2");
    let fetched = format!(
        "{new}, '{organization}', 'user', 'trivial', NULL, NULL, NULL, '{{}}', 2, NULL, NULL, {new}, NULL, 'https://a.b/c', 'HEAD', 'User', NULL"
    );
    let everything = Cost::Exception {
        rows: 2 * 11_000,
        whole_table: true,
        why: "an administrator's list, by hand; keys are few for each organisation, and at most 1,000 come back",
    };
    let waiting = Cost::Exception {
        rows: 2 * 100_000,
        whole_table: false,
        why: "the depth of the queue is counted, through an index and to 100,000, every few seconds by one process",
    };
    let deleted = Cost::Exception {
        // A run, its submission, its key and its events: found, locked and looked for by foreign keys.
        rows: 20 * 100,
        whole_table: false,
        why: "every row of each of 100 runs goes",
    };
    let explained = Cost::Exception {
        rows: 2 * 1000 + ACTIVE,
        whole_table: false,
        why: "what comes before a run is counted to 1,000, of each user and organisation on its own",
    };
    let grouped = Cost::Exception {
        rows: 2 * 10_000 + ACTIVE + 4 * 1000,
        whole_table: false,
        why: "the queue is counted by groups, through an index and to the limit that was asked for",
    };
    let expired_rows = Cost::Exception {
        rows: 2 * 10_000 + 100,
        whole_table: false,
        why: "an operator's preview counts keys and runs, each through an index and to a limit",
    };
    let mut all = vec![
        sample("active_leases", "30", Cost::Active),
        sample(
            "adopt_run",
            format!("'{running}', 1, 1, 'running', '{WORKER}', true, 30, 'next', true, 'test'"),
            Cost::Probe,
        ),
        sample("active_attempts", array(&crowd.page), Cost::Page(100)),
        sample("adopt_artifacts", "ARRAY[repeat('e', 64), repeat('f', 64)]", Cost::Page(2)),
        sample("adopt_archives", "ARRAY[repeat('e', 64), repeat('f', 64)]", Cost::Page(2)),
        sample("cancel_run", format!("'{queued}', '{organization}', {message}"), Cost::Probe),
        sample("cancel_run", format!("'{running}', '{organization}', {message}"), Cost::Probe),
        sample("claim_runs", "'worker-1', 1, 80, 1000, 1000, 1000, 1000, 1000, 60, 1", Cost::Active),
        sample("claim_runs", "'worker-1', 4, 80, 1000, 1000, 1000, 1000, 1000, 60, 4", Cost::Active),
        sample("claim_runs", "'worker-1', 4, 80, 8, 1000, 1000, 1000, 1000, 60, 4", Cost::Active),
        sample("claim_runs", "'worker-1', 80, 80, 80, 20, 20, 10, 2, 60, 4", Cost::Active),
        sample("count_queued", format!("'{organization}', 'user-1', 200"), Cost::Probe),
        sample("count_queued", format!("'{organization}', NULL, 1000"), Cost::Page(1000)),
        sample("count_queued", "NULL, NULL, 1000", Cost::Page(1000)),
        sample("count_expired", "7, 30, 10000", expired_rows),
        sample("count_expired", "365, 0, 10000", Cost::Probe),
        sample("count_workers", "", Cost::Active),
        sample("confirm_lease", format!("'{running}', 1, 1"), Cost::Active),
        sample("complete_run", format!("'{parsing}', 1, 1, {message}, 1, 1, {message}, '[]', NULL"), Cost::Active),
        sample(
            "complete_run",
            format!("'{parsing}', 1, 1, {message}, 1, 1, {message}, '[{file}]', '{{}}'"),
            Cost::Active,
        ),
        sample("delete_artifacts", format!("ARRAY['{ended}'::uuid]"), Cost::Probe),
        sample("find_artifact", format!("'{organization}', '{ended}', 'a.txt', NULL"), Cost::Probe),
        sample("find_artifact", format!("'{organization}', '{ended}', 'a.txt', 'driver'"), Cost::Probe),
        sample("forget_artifact", "repeat('a', 64)", Cost::Probe),
        sample("lock_unnamed_artifact", "lpad('3', 64, '0')", Cost::Page(8)),
        sample("old_artifacts", "'epoch', ''", Cost::Page(2 * 2000)),
        sample("read_artifacts", format!("'{organization}', '{ended}'"), Cost::Probe),
        sample("use_artifacts", "ARRAY[repeat('e', 64), lpad('3', 64, '0')]", Cost::Page(4)),
        sample("delete_old_keys", "7", Cost::Page(3 * 500)),
        sample("delete_old_keys", "365", Cost::Probe),
        sample("delete_old_runs", "30, false", deleted),
        sample("delete_old_runs", "365, false", Cost::Probe),
        sample("delete_old_runs", "30, true", Cost::Probe),
        sample("ensure_signing_key", "repeat('a', 64), sha256('a')", Cost::Probe),
        sample("ensure_organization", format!("{new}, '{name}'"), Cost::Probe),
        sample("ensure_organization", format!("{new}, 'another'"), Cost::Probe),
        sample("enter_fetch", format!("'{preparing}', 1, 1"), Cost::Active),
        sample("enter_phase", format!("'{running}', 1, 1, 'tests'"), Cost::Active),
        sample("events_of_run", format!("'{ended}', 0"), Cost::Page(200)),
        sample("expired_archives", "30, 'epoch', ''", Cost::Page(200 + 10)),
        sample("expired_archives", "365, 'epoch', ''", Cost::Page(10)),
        sample("expired_output", format!("30, 'epoch', '{}'", Uuid::nil()), Cost::Page(200)),
        sample("expired_output", format!("30, '{submitted_at}', '{ended}'"), Cost::Page(200)),
        sample("expired_output", format!("365, '{submitted_at}', '{ended}'"), Cost::Probe),
        sample("explain_queued", format!("'{queued}', '{organization}', 80, 20, 20, 10, 2, 60, 1000"), explained),
        sample("explain_queued", format!("'{running}', '{organization}', 80, 20, 20, 10, 2, 60, 1000"), Cost::Probe),
        sample(
            "fail_run",
            format!(
                "'{running}', 1, 1, 'running', 'failed', 'submission', 'build_failed', {message}, {message}, '[]', NULL"
            ),
            Cost::Probe,
        ),
        sample("find_key", format!("'{key}'"), Cost::Probe),
        sample("forget_archive", "repeat('a', 64)", Cost::Probe),
        sample("forget_dead_workers", "", Cost::Active),
        sample("forget_worker", format!("'{WORKER}'"), Cost::Active),
        sample("idempotent_submission", format!("'{organization}', '{idempotency_key}'"), Cost::Probe),
        sample("insert_key", format!("{new}, '{organization}', 'read', sha256('x'), '', NULL"), Cost::Probe),
        sample("insert_submission", fetched, Cost::Probe),
        sample(
            "insert_submission",
            format!("{submitted}, NULL, NULL, {new}, NULL, NULL, NULL, 'user', '{{}}'"),
            Cost::Probe,
        ),
        sample(
            "insert_submission",
            format!("{submitted}, 'new', sha256('x'), {new}, {message}, NULL, NULL, 'User', '{{}}'"),
            Cost::Probe,
        ),
        sample(
            "insert_submission",
            format!("{submitted}, '{idempotency_key}', sha256('x'), {new}, {message}, NULL, NULL, 'User', '{{}}'"),
            Cost::Probe,
        ),
        sample(
            "keep_fetched",
            format!("'{preparing}', 1, 1, repeat('b', 64), 1, 1, repeat('c', 40), {message}, '{{}}'"),
            Cost::Probe,
        ),
        sample("list_keys", "NULL", everything),
        sample("list_keys", format!("'{name}'"), everything),
        sample("list_runs", format!("'{organization}', '{top}', 101"), Cost::Page(101)),
        sample("list_runs", format!("'{organization}', '{ended}', 101"), Cost::Page(101)),
        sample("list_signing_keys", "", Cost::Page(1200)),
        sample("list_workers", "", Cost::Active),
        sample("lock_expired_archive", "30, 'epoch', ''", Cost::Page(10)),
        sample("lock_expired_archive", "365, 'epoch', ''", Cost::Page(10)),
        sample("mark_output", format!("now(), '{ended}'"), Cost::Probe),
        sample("newest_migration", "", Cost::Page(100)),
        sample("now", "", Cost::Probe),
        sample("output_mark", "", Cost::Probe),
        sample("pace", "", Cost::Page(150)),
        sample("parse_run", format!("'{running}', 1, 1"), Cost::Active),
        sample("ping", "", Cost::Probe),
        sample("queue_counts", "", waiting),
        sample("operator_pause", "", Cost::Probe),
        sample("pause_claims", "'', 'why'", Cost::Probe),
        sample("pause_claims", format!("'{WORKER}', 'why'"), Cost::Probe),
        sample("queue_groups", "10000, 20, 20, 10, 2, 'slots', 10", grouped),
        sample("queue_groups", "10000, 20, 20, 10, 2, 'no_worker', 1000", grouped),
        sample("recent_ends", "900", Cost::Page(10_000)),
        sample("recent_ends", "8640000", Cost::Page(10_000)),
        sample("resume_claims", "''", Cost::Probe),
        sample("read_envelope", format!("'{ended}', '{organization}'"), Cost::Probe),
        sample("read_run", format!("'{ended}', '{organization}'"), Cost::Probe),
        sample("read_submission", format!("'{submission}', '{organization}'"), Cost::Probe),
        sample("read_verdict", format!("'{ended}', '{organization}'"), Cost::Probe),
        sample("renew_leases", format!("'{WORKER}', {}", array(&[*preparing, *running, *parsing])), Cost::Active),
        sample("request_cancel", format!("'{running}', '{organization}'"), Cost::Active),
        sample("release_leases", format!("'{WORKER}'"), Cost::Active),
        sample("report_worker", format!("'{WORKER}', 4, 'claiming', '', ARRAY['pids'], '0.1.0'"), Cost::Probe),
        sample(
            "requeue_run",
            format!("'{running}', 1, 1, 'running', 'cell_lost', {message}, 2, {message}"),
            Cost::Probe,
        ),
        sample("record_egress", format!("'{running}', 1, 1, {message}"), Cost::Active),
        sample("run_position", format!("'{running}'"), Cost::Probe),
        sample("retire_signing_key", "repeat('a', 64)", Cost::Probe),
        sample("revoke_key", format!("'{key}'"), Cost::Probe),
        sample("runs_by_ids", format!("{}, '{organization}'", array(&crowd.page)), Cost::Page(100)),
        sample("runs_of_submission", format!("'{submission}'"), Cost::Page(100)),
        sample("server_version", "", Cost::Probe),
        sample("stale_runs", "30", Cost::Active),
        sample("start_run", format!("'{preparing}', 1, 1, 'install'"), Cost::Active),
        sample("unenforced_limits", "", Cost::Active),
        sample("use_archive", "repeat('a', 64)", Cost::Probe),
    ];
    for status in ["queued", "preparing", "completed", "failed", "timed_out", "aborted"] {
        let page = |after: &str| format!("'{organization}', '{status}', {after}, 101");
        all.push(sample("list_runs_by_status", page(&format!("NULL, '{top}'")), Cost::Page(102)));
        all.push(sample("list_runs_by_status", page(&format!("'{submitted_at}', '{ended}'")), Cost::Page(102)));
    }
    all
}
