//! The parent cgroup of all cells of an installation, and its totals: however many cells there are, and
//! whatever each of them may have, together they leave Postgres, Redis, the API and the engine enough.
//!
//! Memory and processes are hard limits. CPU time is a weight: cells may have all that nobody else wants.
//!
//! With the engine's `cgroupfs` driver the worker creates the folder and writes the totals, with cgroups-rs. With `systemd` the
//! parent is a slice, which systemd keeps: totals that hold already are left as they are, so an SRE
//! can install a unit for it; else the worker asks `systemctl`, which needs root. Either way the totals
//! are read back from the kernel's own files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use assize_protocol::isolation::IsolationCheck;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use cgroups_rs::{Controller, MaxValue};

use super::call::EngineError;
use super::counters::{Cgroups, Version};
use super::engine::Engine;
use assize_config::Config;

/// Who makes cgroups for the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    Cgroupfs,
    Systemd,
}

/// The parent of all cgroups of an installation, as the engine wants it. A dash in the name of a slice
/// would put it into another slice; an underscore is in no instance's name.
#[must_use]
pub fn cgroup_parent(instance: &str, driver: CgroupDriver) -> String {
    match driver {
        CgroupDriver::Cgroupfs => format!("/assize-{instance}"),
        CgroupDriver::Systemd => format!("assize_{}.slice", instance.replace('-', "_")),
    }
}

/// Of the host's memory a quarter stays with the services, but not more than this, in MiB: Postgres, Redis,
/// the API and the engine of the reference host need less.
const MAX_RESERVE_MIB: u64 = 4096;

/// The same for processes.
const MAX_RESERVE_PIDS: u64 = 4096;

/// `systemctl` answers within milliseconds.
const SYSTEMCTL_TIMEOUT: Duration = Duration::from_secs(10);

/// What all cells of an installation may have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes, without swap.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Against the 100 that everything else on the host has, as cgroups version 2 counts it.
    pub cpu_weight: u64,
}

impl Totals {
    /// As the settings say; 0 is: what the host has, less a reserve.
    #[must_use]
    pub fn from_config(config: &Config, host_memory: u64, host_pids: u64) -> Self {
        let less = |all: u64, most: u64| all - (all / 4).min(most);
        let or = |setting: u64, automatic: u64| if setting == 0 { automatic } else { setting };
        Self {
            memory: or(config.cells_memory_mib << 20, less(host_memory, MAX_RESERVE_MIB << 20)),
            pids: or(config.cells_pids, less(host_pids, MAX_RESERVE_PIDS)),
            cpu_weight: config.cells_cpu_weight,
        }
    }
}

/// The kernel's own limit of processes: the smaller of the two that it has.
fn host_pids() -> u64 {
    /// What a kernel gives without either.
    const DEFAULT: u64 = 32_768;
    let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    limits.iter().filter_map(|path| number(Path::new(path))).min().unwrap_or(DEFAULT)
}

/// The parent and what it is to hold.
#[derive(Debug, Clone)]
pub struct Slice {
    cgroups: Cgroups,
    /// The unit, where systemd keeps it.
    unit: Option<String>,
    pub totals: Totals,
}

/// A file of the parent: name, controller, file, what to write.
struct Total {
    name: &'static str,
    path: PathBuf,
    value: u64,
    /// Where the kernel cannot hold this at all, the file is not there.
    is_optional: bool,
}

impl Slice {
    /// Of this installation, with the totals of its settings.
    ///
    /// # Errors
    /// [`EngineError`] if the engine does not say what its host has.
    pub async fn open(engine: &Engine, cgroups: &Cgroups, config: &Config) -> Result<Self, EngineError> {
        let host_memory = engine.info().await?.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        let unit = match engine.cgroup_driver {
            CgroupDriver::Systemd => Some(cgroup_parent(&engine.instance, CgroupDriver::Systemd)),
            CgroupDriver::Cgroupfs => None,
        };
        Ok(Self { cgroups: cgroups.clone(), unit, totals: Totals::from_config(config, host_memory, host_pids()) })
    }

    /// Sets the totals. Whether they hold, [`Self::findings`] says.
    ///
    /// # Errors
    /// What could not be written or asked for.
    pub async fn set(&self) -> Result<(), String> {
        match &self.unit {
            None => self.write(),
            Some(_) if self.findings().iter().all(|finding| finding.ok) => Ok(()),
            Some(unit) => self.ask(unit).await,
        }
    }

    /// What the kernel holds, total by total.
    #[must_use]
    pub fn findings(&self) -> Vec<IsolationCheck> {
        let unreadable = |total: &Total| format!("{} cannot be read", total.path.display());
        let totals = self.files().into_iter().filter(|total| !total.is_optional || total.path.exists());
        totals
            .map(|total| {
                let held = number(&total.path);
                let seen = held.map_or_else(|| unreadable(&total), |held| held.to_string());
                IsolationCheck::new(
                    total.name,
                    held.is_some_and(|held| held <= total.value),
                    seen,
                    total.value.to_string(),
                )
            })
            .fold(Vec::new(), |mut findings: Vec<IsolationCheck>, finding| {
                // Memory and its swap are one total.
                match findings.iter_mut().find(|other| other.check == finding.check) {
                    Some(other) if other.ok && !finding.ok => *other = finding,
                    Some(_) => {}
                    None => findings.push(finding),
                }
                findings
            })
    }

    /// What a person does where the totals do not hold.
    #[must_use]
    pub fn advice(&self) -> String {
        let Totals { memory, pids, cpu_weight } = self.totals;
        self.unit.as_ref().map_or_else(
            || "the worker must be root on the engine's host and see its /sys/fs/cgroup".to_owned(),
            |unit| {
                format!(
                    "install /etc/systemd/system/{unit} with [Slice] MemoryMax={memory} MemorySwapMax=0 \
                     TasksMax={pids} CPUWeight={cpu_weight}, or run the worker as root"
                )
            },
        )
    }

    fn files(&self) -> Vec<Total> {
        let Totals { memory, pids, cpu_weight } = self.totals;
        let total = |name, controller, file, value| Total {
            name,
            path: self.cgroups.parent(controller).join(file),
            value,
            is_optional: false,
        };
        let optional = |total: Total| Total { is_optional: true, ..total };
        match self.cgroups.version {
            Version::V1 => vec![
                total("cells_memory", "memory", "memory.limit_in_bytes", memory),
                optional(total("cells_memory", "memory", "memory.memsw.limit_in_bytes", memory)),
                total("cells_pids", "pids", "pids.max", pids),
                total("cells_cpu_weight", "cpu", "cpu.shares", shares(cpu_weight)),
            ],
            Version::V2 => vec![
                total("cells_memory", "memory", "memory.max", memory),
                optional(total("cells_memory", "memory", "memory.swap.max", 0)),
                total("cells_pids", "pids", "pids.max", pids),
                total("cells_cpu_weight", "cpu", "cpu.weight", cpu_weight),
            ],
        }
    }

    fn write(&self) -> Result<(), String> {
        let Totals { memory: bytes, pids: processes, cpu_weight } = self.totals;
        let is_v2 = self.cgroups.version == Version::V2;
        let memory = MemController::new(self.cgroups.parent("memory"), is_v2);
        let pids = PidController::new(self.cgroups.parent("pids"), is_v2);
        let cpu = CpuController::new(self.cgroups.parent("cpu"), is_v2);
        memory.create();
        pids.create();
        cpu.create();
        if is_v2 {
            // cgroups-rs would delegate every controller that the kernel has; the cells need these three.
            let root = self.cgroups.parent("").with_file_name("cgroup.subtree_control");
            std::fs::write(&root, "+memory +pids +cpu").map_err(|error| format!("{}: {error}", root.display()))?;
        }
        let number = |total: u64| i64::try_from(total).unwrap_or(i64::MAX);
        // The kernel may be built without limits of swap; then the file is not there.
        let (swap_file, swap) =
            if is_v2 { ("memory.swap.max", 0) } else { ("memory.memsw.limit_in_bytes", number(bytes)) };
        let has_swap_limit = memory.path().join(swap_file).exists();
        // In version 1 memory with swap is never below memory alone: whichever way the total moves, one of
        // the two writes has to come after the other.
        if has_swap_limit {
            memory.set_memswap_limit(swap).ok();
        }
        memory
            .set_limit(number(bytes))
            .and_then(|()| pids.set_pid_max(MaxValue::Value(number(processes))))
            .and_then(|()| cpu.set_shares(if is_v2 { cpu_weight } else { shares(cpu_weight) }))
            .and_then(|()| if has_swap_limit { memory.set_memswap_limit(swap) } else { Ok(()) })
            .map_err(|error| error.to_string())
    }

    async fn ask(&self, unit: &str) -> Result<(), String> {
        let Totals { memory, pids, cpu_weight } = self.totals;
        let mut command = tokio::process::Command::new("systemctl");
        command.args(["set-property", "--runtime", unit]);
        command.arg(format!("MemoryMax={memory}")).arg("MemorySwapMax=0");
        command.arg(format!("TasksMax={pids}")).arg(format!("CPUWeight={cpu_weight}"));
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        let output = match tokio::time::timeout(SYSTEMCTL_TIMEOUT, command.output()).await {
            Ok(output) => output.map_err(|error| format!("systemctl could not be run: {error}"))?,
            Err(_) => return Err(format!("systemctl did not answer within {} s", SYSTEMCTL_TIMEOUT.as_secs())),
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("systemctl set-property {unit}: {}", said.lines().next().unwrap_or("failed").trim()))
    }
}

/// What version 1 calls a weight: 1024 is what everything else has.
const fn shares(weight: u64) -> u64 {
    let shares = weight * 1024 / 100;
    if shares < 2 { 2 } else { shares }
}

/// A file of one number; "max" is none.
fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_the_settings_do_not_say_leaves_the_services_a_reserve() {
        let config = Config::default();
        let of = |memory, pids| {
            let totals = Totals::from_config(&config, memory, pids);
            (totals.memory, totals.pids)
        };
        assert_eq!(of(192 * GIB, 4_194_304), (188 * GIB, 4_190_208));
        assert_eq!(of(8 * GIB, 32_768), (6 * GIB, 28_672));
        assert_eq!(of(2 * GIB, 8_000), (3 * GIB / 2, 6_000));
        let set = Config { cells_memory_mib: 100, cells_pids: 7, cells_cpu_weight: 50, ..Config::default() };
        assert_eq!(Totals::from_config(&set, GIB, 10), Totals { memory: 100 << 20, pids: 7, cpu_weight: 50 });
    }

    #[test]
    fn the_totals_are_written_read_back_and_missed_where_they_are_not() {
        for (version, memory) in [(Version::V1, "memory/p/memory.limit_in_bytes"), (Version::V2, "p/memory.max")] {
            let root = tempfile::tempdir().unwrap();
            let slice = Slice {
                cgroups: Cgroups::at(root.path(), version, "p"),
                unit: None,
                totals: Totals { memory: 4096, pids: 10, cpu_weight: 25 },
            };
            let names =
                |findings: &[IsolationCheck]| findings.iter().map(|f| (f.check.clone(), f.ok)).collect::<Vec<_>>();
            let all = |ok: bool| ["cells_memory", "cells_pids", "cells_cpu_weight"].map(|name| (name.to_owned(), ok));
            assert_eq!(names(&slice.findings()), all(false));
            slice.write().unwrap();
            assert_eq!(names(&slice.findings()), all(true));
            for (wrong, ok) in [("max", false), ("4097", false), ("4095", true)] {
                std::fs::write(root.path().join(memory), wrong).unwrap();
                assert_eq!(slice.findings()[0].ok, ok, "{wrong}");
            }
        }
    }

    #[test]
    fn swap_counts_as_memory_where_the_kernel_can_limit_it() {
        let root = tempfile::tempdir().unwrap();
        let totals = Totals { memory: 4096, pids: 10, cpu_weight: 25 };
        let slice = Slice { cgroups: Cgroups::at(root.path(), Version::V2, "p"), unit: None, totals };
        slice.write().unwrap();
        let swap = root.path().join("p/memory.swap.max");
        std::fs::write(&swap, "max").unwrap();
        assert!(!slice.findings()[0].ok);
        slice.write().unwrap();
        let held = &slice.findings()[0];
        assert!(held.ok && held.seen == "4096", "the memory is told, not the swap: {held:?}");
        assert_eq!(std::fs::read_to_string(swap).unwrap(), "0");
    }

    #[test]
    fn a_weight_means_the_same_in_both_versions() {
        assert_eq!([1, 25, 100, 10_000].map(shares), [10, 256, 1024, 102_400]);
    }

    #[test]
    fn an_instance_has_a_parent_of_its_own_with_both_drivers() {
        assert_eq!(cgroup_parent("up-x", CgroupDriver::Cgroupfs), "/assize-up-x");
        assert_eq!(cgroup_parent("up-x", CgroupDriver::Systemd), "assize_up_x.slice");
    }
}
