//! Databases with a queue in each, and claims from that queue whose every cap is checked.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context, Result, ensure};
use assize::embedded::{Durability, Embedded};
use assize_domain::queue::AdmissionCaps;
use assize_host::clock::Stopwatch;
use assize_store::Store;
use assize_store::queue::{Claim, Wanted};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tempfile::TempDir;
use uuid::Uuid;

use crate::figure::ms;
use crate::installation;
use crate::load::fine_cpu_ms;

pub const ORGANIZATIONS: i64 = 1_000;

/// Of each organisation.
pub const USERS: i64 = 50;

/// More than any worker of the bench ever has active.
pub const CAPACITY: i32 = 96;

/// Ids are in the order of time, as the service makes them. One submission of each organisation stands
/// for all: its runs refer to it.
const PREPARE: &str = "
    CREATE FUNCTION bench_id(at timestamptz, salt text) RETURNS uuid LANGUAGE sql AS $$
        SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || '7' || substr(md5(salt), 1, 3) || '8' || substr(md5(salt), 4, 15))::uuid
    $$;
    CREATE TABLE bench_schools AS
        SELECT number, gen_random_uuid() AS id, gen_random_uuid() AS submission FROM generate_series(0, 999) AS number;
    CREATE UNIQUE INDEX ON bench_schools (number);
    INSERT INTO organizations (id, name) SELECT id, 'school-' || number FROM bench_schools;
    INSERT INTO project_submissions
        (id, organization_id, user_ref, template, archive_sha256, archive_bytes, archive_entries)
        SELECT submission, id, 'user', 'trivial', repeat('a', 64), 1, 1 FROM bench_schools;";

/// How a queue is filled: SQL for the organisation's number and the user of the run `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The same for every organisation and user.
    Even,
    /// One organisation has all of it, of 50,000 users.
    One,
    /// Nine of ten runs are of 18 users who are at their cap for good, with 36 of the 40 active runs.
    Capped,
}

impl Shape {
    pub const ALL: [Self; 3] = [Self::Even, Self::One, Self::Capped];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Even => "even",
            Self::One => "one_org",
            Self::Capped => "capped",
        }
    }

    const fn organization(self) -> &'static str {
        match self {
            Self::Even => "n % 1000",
            Self::One => "0",
            Self::Capped => "CASE WHEN n % 10 < 9 THEN n % 18 ELSE 18 + n / 10 % 982 END",
        }
    }

    const fn user(self) -> &'static str {
        match self {
            Self::Even => "n / 1000 % 50",
            Self::One => "n % 50000",
            Self::Capped => "CASE WHEN n % 10 < 9 THEN 0 ELSE n / 9820 % 50 END",
        }
    }

    /// The default caps; where one organisation has all, it may have all slots.
    pub fn caps(self) -> AdmissionCaps {
        let caps = assize::admission::caps(&assize_config::Config::default());
        if self == Self::One { AdmissionCaps { per_org: 1_000, ..caps } } else { caps }
    }
}

/// Postgres, as durable as it is in production.
pub struct Server {
    embedded: Embedded,
    /// Last, so that it outlives the server.
    folder: TempDir,
}

impl Server {
    pub async fn start() -> Result<Self> {
        let folder = installation::folder()?;
        let embedded = Embedded::start(folder.path(), Durability::Safe).await?;
        Ok(Self { embedded, folder })
    }

    /// A database of this name, with an empty queue.
    pub async fn queue(&self, name: &str) -> Result<Queue> {
        let base = &self.embedded.database_url;
        let pool = PgPool::connect(base).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await?;
        pool.close().await;
        let (address, options) = base.split_once('?').unwrap_or((base, ""));
        let (server, _) = address.rsplit_once('/').context("an address without a database")?;
        Queue::open(format!("{server}/{name}?{options}")).await
    }

    pub async fn stop(self) -> Result<()> {
        self.embedded.stop().await;
        self.folder.close()?;
        Ok(())
    }
}

/// A database with a queue in it.
pub struct Queue {
    pub store: Store,
    pub pool: PgPool,
    url: String,
}

impl Queue {
    async fn open(url: String) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(20).connect(&url).await?;
        let store = Store::open(&url, 1)?;
        store.migrate().await?;
        sqlx::raw_sql(PREPARE).execute(&pool).await?;
        Ok(Self { store, pool, url })
    }

    /// A store with a connection of its own.
    pub fn another_store(&self) -> Result<Store> {
        Ok(Store::open(&self.url, 1)?)
    }

    async fn bulk(&self, statements: &str) -> Result<()> {
        // Without triggers: a run's first event matters to nobody here.
        let all = format!(
            "SET session_replication_role = replica; SET synchronous_commit = off; {statements};
             RESET session_replication_role; RESET synchronous_commit"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(all)).execute(&self.pool).await.context("filling the queue")?;
        Ok(())
    }

    pub async fn clear(&self) -> Result<()> {
        let tables = "project_evaluation_runs, run_events, run_artifacts, admission_turns, admission_active";
        self.bulk(&format!("TRUNCATE {tables}")).await
    }

    /// Queues so many runs of this shape, all of them submitted within the last hour, and brings the
    /// planner's statistics up to date.
    pub async fn fill(&self, shape: Shape, length: i64) -> Result<()> {
        let at = "now() - interval '1 hour' + n * interval '3 ms'";
        self.insert(shape.organization(), shape.user(), at, 0, length).await?;
        self.settle().await
    }

    /// As after autovacuum has been there.
    pub async fn settle(&self) -> Result<()> {
        for statement in ["VACUUM (ANALYZE) project_evaluation_runs", "CHECKPOINT"] {
            sqlx::raw_sql(statement).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// Queues the runs `from..to`, a mixture of the classes, of these organisations and users.
    pub async fn insert(&self, organization: &str, user: &str, at: &str, from: i64, to: i64) -> Result<()> {
        self.bulk(&format!(
            "INSERT INTO project_evaluation_runs
                 (id, project_submission_id, organization_id, user_ref, template, half_slots, submitted_at)
             SELECT bench_id(at, 'run ' || n), school.submission, school.id, 'user-' || ({user}), 'trivial',
                 (ARRAY[1, 2, 1, 1, 2, 4])[1 + n / 7 % 6], at
             FROM generate_series({from}::bigint, {to}::bigint - 1) AS n
             CROSS JOIN LATERAL (SELECT {at} AS at) AS time
             JOIN bench_schools AS school ON school.number = {organization}"
        ))
        .await
    }

    /// Runs that have ended in the hour before.
    pub async fn insert_ended(&self, count: i64) -> Result<()> {
        self.bulk(&format!(
            "INSERT INTO project_evaluation_runs
                 (id, project_submission_id, organization_id, user_ref, template, half_slots, submitted_at, created_at,
                  status, lease_epoch, worker_id, started_at, heartbeat_at, finished_at, verdict, score, max_score)
             SELECT bench_id(at, 'ended ' || n), school.submission, school.id, 'user-' || n / 1000 % 50, 'trivial',
                 (ARRAY[1, 2, 1, 1, 2, 4])[1 + n % 6], at, at, 'completed', 1, 'worker', at, at, at + interval '20 s',
                 '{{\"score\": 1, \"max_score\": 1, \"tests\": [], \"integrity\": \"isolated\"}}', 1, 1
             FROM generate_series(0, {count}::bigint - 1) AS n
             CROSS JOIN LATERAL (SELECT now() - interval '3 hours' + n * interval '3 ms' AS at) AS time
             JOIN bench_schools AS school ON school.number = n % 1000"
        ))
        .await?;
        self.settle().await
    }

    /// The run of each organisation that was submitted last of those that wait, with its organisation.
    pub async fn last_of_each(&self) -> Result<Vec<(Uuid, Uuid)>> {
        let query = "SELECT last.organization_id, last.id FROM bench_schools AS school CROSS JOIN LATERAL (
            SELECT organization_id, id FROM project_evaluation_runs
            WHERE organization_id = school.id AND status = 'queued' ORDER BY submitted_at DESC LIMIT 1) AS last";
        Ok(sqlx::query_as(query).fetch_all(&self.pool).await?)
    }

    /// How often a cap is passed by what is active now.
    pub async fn exceeded(&self, caps: &AdmissionCaps) -> Result<i64> {
        let query = "WITH active AS (SELECT organization_id, user_ref, half_slots FROM project_evaluation_runs
                WHERE status IN ('preparing', 'running', 'parsing'))
            SELECT (SELECT count(*) FROM (SELECT FROM active GROUP BY organization_id HAVING count(*) > $1) AS over)
                 + (SELECT count(*) FROM (SELECT FROM active GROUP BY organization_id, user_ref HAVING count(*) > $2) AS over)
                 + (SELECT (coalesce(sum(half_slots), 0) > $3)::integer + (count(*) FILTER (WHERE half_slots > 1) > $4)::integer
                        + (count(*) FILTER (WHERE half_slots = 1) > $5)::integer FROM active)";
        Ok(sqlx::query_scalar(query)
            .bind(caps.per_org)
            .bind(caps.per_user)
            .bind(caps.total_half_slots)
            .bind(caps.browser)
            .bind(caps.api)
            .fetch_one(&self.pool)
            .await?)
    }
}

/// An active run.
#[derive(Debug, Clone)]
pub struct Active {
    pub id: Uuid,
    pub organization: Uuid,
    pub user: String,
    pub half_slots: i32,
}

/// Of one call, in ms.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    pub wall: f64,
    /// CPU of the server's process: what the call would take on a host with nothing else to do, but for
    /// the disk and the way there and back.
    pub cpu: f64,
}

/// The only one that claims: it knows all that is active.
pub struct Claimer<'a> {
    pub queue: &'a Queue,
    pub caps: AdmissionCaps,
    pub active: VecDeque<Active>,
    /// What each call took, in ms, and how much of that Postgres worked for it.
    pub times: Vec<Time>,
    /// The process of Postgres that serves the claims.
    backend: u32,
    pub exceeded: usize,
}

impl<'a> Claimer<'a> {
    pub async fn new(queue: &'a Queue, caps: AdmissionCaps) -> Result<Self> {
        // The store has one connection, and opens it now.
        queue.store.ping().await?;
        let query =
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'assize' AND datname = current_database()";
        let backend: i32 = sqlx::query_scalar(query).fetch_one(&queue.pool).await?;
        let backend = u32::try_from(backend)?;
        Ok(Self { queue, caps, active: VecDeque::new(), times: Vec::new(), backend, exceeded: 0 })
    }

    /// One call for all that fits, timed; what was claimed.
    pub async fn claim(&mut self) -> Result<Vec<Active>> {
        let busy: i32 = self.active.iter().map(|run| run.half_slots).sum();
        let wanted =
            Wanted { worker_half_slots: CAPACITY - busy, worker_capacity: CAPACITY, caps: self.caps, most: 16 };
        let (before, begun) = (fine_cpu_ms(self.backend)?, Stopwatch::start());
        let claims = self.queue.store.claim_runs("worker", wanted).await?;
        let wall = ms(begun.elapsed());
        self.times.push(Time { wall, cpu: fine_cpu_ms(self.backend)? - before });
        let mut claimed = Vec::new();
        for claim in claims {
            claimed.push(self.active_of(&claim).await?);
        }
        self.active.extend(claimed.iter().cloned());
        self.check();
        Ok(claimed)
    }

    async fn active_of(&self, claim: &Claim) -> Result<Active> {
        let query = "SELECT user_ref FROM project_evaluation_runs WHERE id = $1";
        let user = sqlx::query_scalar(query).bind(claim.id).fetch_one(&self.queue.pool).await?;
        Ok(Active { id: claim.id, organization: claim.organization_id, user, half_slots: claim.half_slots })
    }

    fn check(&mut self) {
        let (mut organizations, mut users) = (HashMap::new(), HashMap::new());
        let (mut half_slots, mut browser, mut api) = (0, 0, 0);
        for run in &self.active {
            *organizations.entry(run.organization).or_insert(0) += 1;
            *users.entry((run.organization, &run.user)).or_insert(0) += 1;
            half_slots += run.half_slots;
            if run.half_slots == 1 { api += 1 } else { browser += 1 }
        }
        let caps = &self.caps;
        let is_over = half_slots > caps.total_half_slots
            || browser > caps.browser
            || api > caps.api
            || organizations.values().any(|runs| *runs > caps.per_org)
            || users.values().any(|runs| *runs > caps.per_user);
        self.exceeded += usize::from(is_over);
    }

    /// Claims until nothing more fits; these calls are not measured.
    pub async fn fill(&mut self) -> Result<()> {
        while !self.claim().await?.is_empty() {}
        self.times.clear();
        Ok(())
    }

    /// Brings the users of [`Shape::Capped`] to their cap: two runs of each, of class A for one half of
    /// them and B for the other, so that neither class is at its cap. How many runs that makes.
    pub async fn cap_heads(&mut self) -> Result<usize> {
        let query = "UPDATE project_evaluation_runs SET status = 'preparing', worker_id = 'worker', lease_epoch = 1,
                heartbeat_at = clock_timestamp(), started_at = clock_timestamp()
            WHERE id IN (SELECT head.id FROM bench_schools AS school CROSS JOIN LATERAL (
                SELECT id FROM project_evaluation_runs
                WHERE status = 'queued' AND organization_id = school.id AND user_ref = 'user-0'
                  AND half_slots = CASE WHEN school.number < 9 THEN 1 ELSE 2 END
                LIMIT 2) AS head WHERE school.number < 18)
            RETURNING id, organization_id, user_ref, half_slots";
        let heads: Vec<(Uuid, Uuid, String, i32)> = sqlx::query_as(query).fetch_all(&self.queue.pool).await?;
        ensure!(heads.len() == 36, "{} heads are active, 36 are wanted", heads.len());
        // Not by a claim: what claims know of the active runs is to be read anew.
        sqlx::raw_sql("TRUNCATE admission_active").execute(&self.queue.pool).await?;
        let heads =
            heads.into_iter().map(|(id, organization, user, half_slots)| Active { id, organization, user, half_slots });
        self.active.extend(heads);
        Ok(self.active.len())
    }

    /// The run at this place ends.
    pub async fn end(&mut self, place: usize) -> Result<Active> {
        let run = self.active.remove(place).context("nothing is active")?;
        end(&self.queue.pool, run.id).await?;
        Ok(run)
    }

    /// Another run like this one is queued: the queue stays as long as it is.
    pub async fn replace(&self, run: &Active) -> Result<()> {
        self.submit(run.organization, &run.user, run.half_slots).await?;
        Ok(())
    }

    pub async fn submit(&self, organization: Uuid, user: &str, half_slots: i32) -> Result<Uuid> {
        let id = Uuid::now_v7();
        let query = "INSERT INTO project_evaluation_runs
                (id, project_submission_id, organization_id, user_ref, template, half_slots, submitted_at)
            SELECT $1, submission, id, $3, 'trivial', $4, clock_timestamp() FROM bench_schools WHERE id = $2";
        sqlx::query(query).bind(id).bind(organization).bind(user).bind(half_slots).execute(&self.queue.pool).await?;
        Ok(id)
    }

    /// Ends the oldest but `kept`, queues another like it and claims.
    pub async fn turn_over(&mut self, kept: usize) -> Result<()> {
        let ended = self.end(kept).await?;
        self.replace(&ended).await?;
        self.claim().await?;
        Ok(())
    }

    /// Ends what is active, and queues others like them.
    pub async fn end_all(&mut self) -> Result<()> {
        while !self.active.is_empty() {
            let run = self.end(0).await?;
            self.replace(&run).await?;
        }
        Ok(())
    }
}

pub async fn end(pool: &PgPool, run: Uuid) -> Result<()> {
    let query = "UPDATE project_evaluation_runs SET status = 'failed', finished_at = clock_timestamp(),
        cause = 'submission', failure_code = 'build_failed', evidence = '{}' WHERE id = $1";
    sqlx::query(query).bind(run).execute(pool).await?;
    Ok(())
}
