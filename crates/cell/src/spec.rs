//! What a cell is made of: the one place that decides how tight it is.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use assize_protocol::plan::Plan;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::cpuset::CpuReservation;
use super::engine::{Engine, WARDEN_IN_CELL};
use super::slice::cgroup_parent;
use super::{limits, seccomp};
use assize_domain::limits::CellLimits;

/// Which installation a container belongs to.
pub const LABEL_INSTANCE: &str = "assize.instance";
/// Which run.
pub const LABEL_RUN: &str = "assize.run";
/// Which attempt of it.
pub const LABEL_ATTEMPT: &str = "assize.attempt";
/// [`Role`] of a cell; [`BERTH`] for a berth.
pub const LABEL_CELL: &str = "assize.cell";
/// What a berth is, as a cell.
pub const BERTH: &str = "berth";
/// SHA-256 of the plan of a cell: only who has the same plan can go on with it.
pub const LABEL_PLAN: &str = "assize.plan";
/// The processors that are a cell's own; empty if none are.
pub const LABEL_PROCESSORS: &str = "assize.processors";
/// Which worker made it.
pub const LABEL_WORKER: &str = "assize.worker";

/// Where a project is unpacked, its working folder and home.
pub const WORKSPACE: &str = "/workspace";
/// Where a grader's tests are unpacked.
pub const GRADER: &str = "/grader";
/// Bytes of that folder: four times the largest bundle.
pub const GRADER_BYTES: u64 = 64 * 1024 * 1024;
/// Files and folders that it is unpacked to at the most, whatever its inodes.
pub const GRADER_ENTRIES: u64 = 10_000;
/// Scratch space.
pub const TMP: &str = "/tmp";

/// Beneath these a stage may write, as far as the kernel can hold it to that: what a project's programs need, and not
/// the grader's folder.
pub const WRITABLE: [&str; 4] = [WORKSPACE, TMP, "/dev", "/proc"];

/// The user that everything in a cell runs as, and its group. No image has it.
const UID: u32 = 10001;

/// Bytes of the journal of a cell: everything its warden may say, output caps and results included, fits
/// below this, so the engine never rotates it away. Artifacts have room of their own.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of a journal with room for so many bytes of artifacts. Each line feed costs the engine about 30 bytes, and at
/// most one byte in 256 is one ([`assize_protocol::mask`]), so that a quarter more is enough.
const fn journal_bytes(artifact_bytes: u64) -> u64 {
    JOURNAL_BYTES + artifact_bytes + artifact_bytes / 4
}

/// What a cell is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs the project.
    Subject,
    /// Runs the grader's tests against it.
    Driver,
    /// Fetches the project from a repository, before the two.
    Fetch,
}

impl Role {
    /// The value of the cell label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Driver => "driver",
            Self::Fetch => "fetch",
        }
    }
}

/// One cell to make.
#[derive(Debug, Clone)]
pub struct CellSpec<'a> {
    pub run_id: Uuid,
    pub attempt: i32,
    pub worker: &'a str,
    pub role: Role,
    pub image: &'a str,
    pub limits: CellLimits,
    /// Bytes of the grader's folder; 0 if the cell has none.
    pub grader_bytes: u64,
    /// Bytes of artifacts that the cell may hand out.
    pub artifact_bytes: u64,
    /// The OCI runtime, if not the installation's.
    pub runtime: Option<&'a str>,
    /// The container whose namespace the cell joins.
    pub berth: &'a str,
    /// [`plan_digest`] of what it will be told to do; empty for a probe.
    pub plan: &'a str,
    /// The processors that are its own; without, it runs on all that cells may use.
    pub place: Option<&'a CpuReservation>,
}

/// What tells two plans apart.
#[must_use]
pub fn plan_digest(plan: &Plan) -> String {
    let bytes = serde_json::to_vec(plan).unwrap_or_default();
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl CellSpec<'_> {
    /// Bytes of the longest file.
    #[must_use]
    pub fn longest_file(&self) -> u64 {
        limits::longest_file_in(&self.limits, self.grader_bytes)
    }

    /// A name that tells a person which run this is, and that a second cell of the same attempt
    /// and role cannot have.
    #[must_use]
    pub fn name(&self, engine: &Engine) -> String {
        format!("{}-{}-{}-{}", engine.instance, self.run_id.simple(), self.attempt, self.role.as_str())
    }

    /// The container, as the engine wants it.
    #[must_use]
    pub fn body(&self, engine: &Engine) -> ContainerCreateBody {
        let CellLimits { cpus, memory_mib, pids, workspace_mib, workspace_inodes, tmp_mib } = self.limits;
        let mut tmpfs = HashMap::from([
            (WORKSPACE.to_owned(), tmpfs_options(mib(workspace_mib), workspace_inodes)),
            (TMP.to_owned(), tmpfs_options(mib(tmp_mib), workspace_inodes)),
        ]);
        if self.grader_bytes > 0 {
            tmpfs.insert(GRADER.to_owned(), tmpfs_options(self.grader_bytes, workspace_inodes));
        }
        let mut labels = labels(engine, self.role.as_str(), self.worker);
        labels.insert(LABEL_RUN.to_owned(), self.run_id.to_string());
        labels.insert(LABEL_ATTEMPT.to_owned(), self.attempt.to_string());
        labels.insert(LABEL_PLAN.to_owned(), self.plan.to_owned());
        labels.insert(LABEL_PROCESSORS.to_owned(), self.place.map(CpuReservation::list).unwrap_or_default());
        let host = HostConfig {
            // No network is made for a run (FAILURES 20).
            network_mode: Some(format!("container:{}", self.berth)),
            pids_limit: Some(signed(pids)),
            nano_cpus: Some(nano_cpus(cpus)),
            cpuset_cpus: Some(engine.processors.list(self.place)),
            tmpfs: Some(tmpfs),
            log_config: Some(HostConfigLogConfig {
                typ: Some("local".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), journal_bytes(self.artifact_bytes).to_string()),
                    ("max-file".to_owned(), "1".to_owned()),
                    ("compress".to_owned(), "false".to_owned()),
                ])),
            }),
            runtime: self.runtime.map(str::to_owned).or_else(|| engine.runtime.clone()),
            sysctls: Some(NETWORK_SETTINGS.clone()),
            ..sealed(engine, mib(memory_mib), self.longest_file())
        };
        ContainerCreateBody {
            image: Some(self.image.to_owned()),
            // Stays open when a worker goes away, so that its successor can attach again.
            open_stdin: Some(true),
            stdin_once: Some(false),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            labels: Some(labels),
            host_config: Some(host),
            ..resident(&[])
        }
    }
}

/// Settings of a cell's network namespace, written by the runtime when the cell joins it. The engine writes the first
/// and the last by itself, but only into the namespace that it made; a berth has renewed that one. Both cells of a run
/// write the same, so the second changes nothing for the first.
static NETWORK_SETTINGS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    // A kernel without IPv6 has no such file, and the runtime refuses to start a cell over that.
    let has_ipv6 = Path::new("/proc/sys/net/ipv6/conf/all/disable_ipv6").exists();
    let settings = [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv6.conf.all.disable_ipv6", "1")];
    let wanted = settings.into_iter().filter(|(name, _)| has_ipv6 || name.starts_with("net.ipv4."));
    wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
});

/// A berth: a network namespace, and a process that renews it. Its PID 1 is root with two capabilities, which is what
/// making a namespace takes; nothing else runs in it, its image has no file, and it shares nothing with a cell but the
/// network namespace.
#[must_use]
pub fn berth_body(engine: &Engine, worker: &str, image: &str) -> ContainerCreateBody {
    /// Enough for the runtime's own start-up inside the limits; the warden needs a tenth of it.
    const MEMORY: i64 = 32 << 20;
    /// The runtime starts as a process with threads, more of them the busier the host is. With 4 a
    /// start failed now and then: "cannot start a stopped process".
    const PIDS: i64 = 32;
    /// To unshare a network namespace, and to bring its loopback up.
    const CAPABILITIES: [&str; 2] = ["SYS_ADMIN", "NET_ADMIN"];
    let host = HostConfig {
        network_mode: Some("none".to_owned()),
        pids_limit: Some(PIDS),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        // The profile of cells denies every capability; the engine's own denies mounts and leaves these.
        security_opt: Some(vec!["no-new-privileges:true".to_owned(), format!("seccomp={}", *seccomp::BERTH_PROFILE)]),
        ..sealed(engine, MEMORY, 0)
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        labels: Some(labels(engine, BERTH, worker)),
        host_config: Some(host),
        user: Some("0:0".to_owned()),
        open_stdin: Some(true),
        stdin_once: Some(false),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        ..resident(&["berth"])
    }
}

/// What every container of ours runs, and as whom.
fn resident(arguments: &[&str]) -> ContainerCreateBody {
    ContainerCreateBody {
        user: Some(format!("{UID}:{UID}")),
        entrypoint: Some(vec![WARDEN_IN_CELL.to_owned()]),
        cmd: Some(arguments.iter().map(|argument| (*argument).to_owned()).collect()),
        working_dir: Some("/".to_owned()),
        env: Some(Vec::new()),
        ..ContainerCreateBody::default()
    }
}

/// What every container of ours is denied.
fn sealed(engine: &Engine, memory: i64, longest_file: u64) -> HostConfig {
    let mut security = vec!["no-new-privileges:true".to_owned(), format!("seccomp={}", *seccomp::PROFILE)];
    security.extend(engine.confinement.named.as_ref().map(|profile| format!("apparmor={profile}")));
    HostConfig {
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(security),
        masked_paths: Some(limits::paths(limits::MASKED)),
        readonly_paths: Some(limits::paths(limits::READ_ONLY)),
        privileged: Some(false),
        cgroup_parent: Some(cgroup_parent(&engine.instance, engine.cgroup_driver)),
        memory: Some(memory),
        // The same again: memory and swap together, so no swap.
        memory_swap: Some(memory),
        ipc_mode: Some("private".to_owned()),
        shm_size: Some(signed(limits::SHM_BYTES)),
        ulimits: Some(limits::of_each_process(longest_file)),
        binds: Some(vec![format!("{}:{WARDEN_IN_CELL}:ro", engine.warden.display())]),
        runtime: engine.runtime.clone(),
        init: Some(false),
        ..HostConfig::default()
    }
}

fn labels(engine: &Engine, cell: &str, worker: &str) -> HashMap<String, String> {
    [(LABEL_INSTANCE, engine.instance.as_str()), (LABEL_CELL, cell), (LABEL_WORKER, worker)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn tmpfs_options(bytes: impl std::fmt::Display, inodes: u64) -> String {
    format!("size={bytes},nr_inodes={inodes},uid={UID},gid={UID},mode=0700,nosuid,nodev,exec")
}

fn mib(mib: u64) -> i64 {
    signed(mib.saturating_mul(1 << 20))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The engine counts cpus in billionths.
#[expect(clippy::cast_possible_truncation, reason = "a template's cpus are 0.05 to 256")]
fn nano_cpus(cpus: f64) -> i64 {
    (cpus * 1e9) as i64
}
