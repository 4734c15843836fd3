//! Checks that what is promised to cells, Postgres and the rest is not more than the memory of this host.

use super::Report;
use crate::cli::tune::{Host, Memory, reserved_huge_pages_mib};
use assize_config::Config;
use assize_store::pooler::Session;

/// What the default of `cells_memory_mib` leaves to everything else, in MiB, or a quarter of the host if that is less.
const DEFAULT_REST: u64 = 4096;

/// Who is promised how much, in MiB.
#[derive(Debug, Clone, Copy)]
struct Sums {
    total: u64,
    cells: u64,
    /// The shared memory of a Postgres on this host, or the huge pages that are set aside for it.
    postgres: u64,
    /// The engine, Redis, the API and the worker, monitoring, the system: an estimate by the size of the host.
    others: u64,
}

impl Sums {
    fn used(&self) -> u64 {
        self.cells + self.postgres + self.others
    }

    /// Returns the most that cells may have.
    fn room_for_cells(&self) -> u64 {
        self.total.saturating_sub(self.postgres + self.others)
    }
}

pub(super) fn examine(config: &Config, session: Option<&Session>, report: &mut Report) {
    let Some(host) = Host::read() else {
        return report.warn("memory", "the memory of this host is not known", "mount /proc");
    };
    let shared = session.filter(|session| session.is_local).map_or(0, |session| session.shared_buffers_mib);
    let sums = Sums {
        total: host.memory_mib,
        cells: cells(config, host.memory_mib),
        postgres: shared.max(reserved_huge_pages_mib()),
        others: Memory::divide(host).others(),
    };
    compare(sums, report);
}

fn cells(config: &Config, total: u64) -> u64 {
    match config.cells_memory_mib {
        0 => total - DEFAULT_REST.min(total / 4),
        set => set,
    }
}

fn compare(sums: Sums, report: &mut Report) {
    let Sums { total, cells, postgres, others } = sums;
    let seen = format!("cells {cells} + Postgres {postgres} + others about {others} = {} of {total} MiB", sums.used());
    let todo = format!(
        "set cells_memory_mib to at most {}, and MemoryMax of its slice to the same, or lower shared_buffers and \
         vm.nr_hugepages; `assize tune` divides the memory of this host",
        sums.room_for_cells()
    );
    if sums.used() <= total {
        report.ok("memory", seen);
    } else if cells + postgres > total {
        report.fail("memory", seen, &todo);
    } else {
        report.warn("memory", seen, &todo);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn level(cells: u64, postgres: u64) -> (Level, Option<String>) {
        let mut report = Report { terminal: None, checks: Vec::new() };
        compare(Sums { total: 196_608, cells, postgres, others: 12_288 }, &mut report);
        let check = report.checks.remove(0);
        (check.level, check.todo)
    }

    #[test]
    fn sums_within_the_memory_are_ok_and_others_name_the_number_to_change() {
        assert_eq!(level(98_304, 17_000), (Level::Ok, None));
        let (over, todo) = level(170_000, 17_000);
        assert_eq!(over, Level::Warn);
        assert!(todo.unwrap().starts_with("set cells_memory_mib to at most 167320,"));
        // The default of assize on a host whose Postgres has 17,000 MiB of huge pages.
        assert_eq!(level(cells(&Config::default(), 196_608), 17_000).0, Level::Fail);
    }

    #[test]
    fn the_default_is_that_of_the_worker() {
        assert_eq!(cells(&Config::default(), 196_608), 192_512);
        assert_eq!(cells(&Config::default(), 8_192), 6_144);
        assert_eq!(cells(&Config { cells_memory_mib: 5, ..Config::default() }, 8_192), 5);
    }
}
