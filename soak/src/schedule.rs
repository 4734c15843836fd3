//! The kinds of faults, and the list of faults that a seed generates.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    WorkerKill,
    WorkerStop,
    WorkerStopPastLease,
    RollingRestart,
    RollingRestartKill,
    ClockShift,
    ApiKill,
    ApiStop,
    PostgresKill,
    PostgresStop,
    PostgresCut,
    RedisKill,
    RedisStop,
    RedisFlush,
    EngineRestart,
    EngineKill,
    EngineStall,
    EngineStallLong,
    EngineDrop,
    CellKill,
    DiskFull,
    CancelStorm,
}

/// Every kind with its name, its weight, and what it does. Kinds that take half a minute have a small weight.
pub const KINDS: &[(Kind, &str, u32, &str)] = &[
    (Kind::WorkerKill, "worker_kill", 42, "kill -9 of a worker, started again"),
    (Kind::WorkerStop, "worker_stop", 15, "SIGSTOP of a worker for 0.5-2.5 s"),
    (Kind::WorkerStopPastLease, "worker_stop_past_lease", 1, "SIGSTOP of a worker for 32-36 s: its leases go stale"),
    (Kind::RollingRestart, "rolling_restart", 8, "a new worker starts, an old one gets SIGTERM and drains"),
    (Kind::RollingRestartKill, "rolling_restart_kill", 8, "the same, and SIGKILL in mid-drain"),
    (Kind::ClockShift, "clock_shift", 3, "a worker's clock is 60 s or 1 h off, and jumps"),
    (Kind::ApiKill, "api_kill", 24, "kill -9 of the API, started again"),
    (Kind::ApiStop, "api_stop", 12, "SIGSTOP of the API for 0.5-2.5 s"),
    (Kind::PostgresKill, "postgres_kill", 12, "kill -9 of all of Postgres, started again"),
    (Kind::PostgresStop, "postgres_stop", 12, "SIGSTOP of all of Postgres for 0.5-2.5 s"),
    (Kind::PostgresCut, "postgres_cut", 42, "the reply to a committed write is dropped with its connection"),
    (Kind::RedisKill, "redis_kill", 18, "kill -9 of Redis, started again, empty"),
    (Kind::RedisStop, "redis_stop", 12, "SIGSTOP of Redis for 0.5-2.5 s"),
    (Kind::RedisFlush, "redis_flush", 24, "FLUSHALL"),
    (Kind::EngineRestart, "engine_restart", 2, "the engine is stopped and started"),
    (Kind::EngineKill, "engine_kill", 2, "kill -9 of the engine, started again"),
    (Kind::EngineStall, "engine_stall", 12, "the engine does not answer for 1-5 s"),
    (Kind::EngineStallLong, "engine_stall_long", 1, "the engine does not answer for 31-40 s"),
    (Kind::EngineDrop, "engine_drop", 30, "the engine's reply to create, start or remove is dropped"),
    (Kind::CellKill, "cell_kill", 14, "another process kills a cell"),
    (Kind::DiskFull, "disk_full", 12, "no space for uploads and blobs"),
    (Kind::CancelStorm, "cancel_storm", 24, "many runs are cancelled, some twice"),
];

impl Kind {
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, ..)| name)
    }
}

/// A fault of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// The pause before the fault, in ms.
    pub pause_ms: u64,
    /// The seed of its details.
    pub seed: u64,
}

/// Generates `count` faults: each kind once, if `count` is large enough, and the others by weight.
pub fn generate(seed: u64, count: usize, kinds: &[Kind]) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let weight = |kind: &Kind| KINDS.iter().find(|(known, ..)| known == kind).map_or(1, |(_, _, weight, _)| *weight);
    let mut chosen: Vec<Kind> = match kinds.choose_multiple_weighted(&mut random, count, weight) {
        Ok(first) => first.copied().collect(),
        Err(_) => Vec::new(),
    };
    while chosen.len() < count
        && let Ok(kind) = kinds.choose_weighted(&mut random, weight)
    {
        chosen.push(*kind);
    }
    chosen.shuffle(&mut random);
    let fault = |kind| Fault { kind, pause_ms: random.random_range(20..500), seed: random.random() };
    chosen.into_iter().map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Kind> {
        KINDS.iter().map(|(kind, ..)| *kind).collect()
    }

    #[test]
    fn a_seed_always_generates_the_same_list() {
        assert_eq!(generate(7, 100, &all()), generate(7, 100, &all()));
        assert_ne!(generate(7, 100, &all()), generate(8, 100, &all()));
    }

    #[test]
    fn a_long_list_contains_every_kind() {
        for seed in 0..20 {
            let faults = generate(seed, 30, &all());
            assert_eq!(faults.len(), 30);
            assert!(all().iter().all(|kind| faults.iter().any(|fault| fault.kind == *kind)), "{seed}");
            assert_eq!(generate(seed, 5, &all()).len(), 5);
        }
    }
}
