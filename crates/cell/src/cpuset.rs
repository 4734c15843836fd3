//! Which processors a cell runs on.
//!
//! A share of CPU time alone does not keep a neighbour quiet. Whoever may use half of a processor uses it in
//! bursts, and a process of the neighbour that wakes on that processor waits for some milliseconds, even while
//! another processor is idle. So a cell is bound to as few processors as its share needs, to those with the most
//! room, and two cells share one only when none is free.
//!
//! A cell that finds no room runs on all of them. A worker knows of the cells that it made or adopted: two
//! workers of one host, as in a rolling upgrade, may choose the same processors for a while.

use std::collections::BTreeSet;
use std::sync::Arc;

use assize_domain::cpu_list::{NONE, parse, written};
use parking_lot::Mutex;

/// What one processor has, in thousandths of its time.
const WHOLE: u32 = 1000;

/// Where the kernel says which processors there are for us: cgroups version 2, version 1, without either.
const EFFECTIVE: [&str; 3] = [
    "/sys/fs/cgroup/cpuset.cpus.effective",
    "/sys/fs/cgroup/cpuset/cpuset.effective_cpus",
    "/sys/devices/system/cpu/online",
];

/// The processors of this host that cells are bound to, and how much of each is taken.
#[derive(Debug)]
pub struct CpuPool {
    taken: Mutex<Vec<Processor>>,
    /// What a cell without room of its own is bound to; empty: to nothing.
    all: String,
}

#[derive(Debug, Clone, Copy)]
struct Processor {
    id: u32,
    /// Thousandths of its time.
    taken: u32,
}

/// The processors of one cell, until this is dropped.
#[derive(Debug)]
pub struct CpuReservation {
    processors: Arc<CpuPool>,
    ids: BTreeSet<u32>,
    /// Thousandths of each one's time.
    share: u32,
}

impl CpuPool {
    /// As the setting `cells_cpuset` says: a list like `2-47`, `none`, or empty for all that this host has.
    ///
    /// # Errors
    /// What is wrong with the list, or that the host does not say what it has.
    pub fn from_setting(setting: &str) -> Result<Arc<Self>, String> {
        let ids = match setting {
            NONE => BTreeSet::new(),
            "" => parse(&effective()?)?,
            list => parse(list)?,
        };
        let all = if setting.is_empty() { String::new() } else { written(&ids) };
        let taken = Mutex::new(ids.into_iter().map(|id| Processor { id, taken: 0 }).collect());
        Ok(Arc::new(Self { taken, all }))
    }

    /// Room for a cell that may use this many processors' time: those with the least taken.
    #[must_use]
    pub fn place(self: &Arc<Self>, cpus: f64) -> Option<CpuReservation> {
        let (count, share) = portions(cpus)?;
        let mut taken = self.taken.lock();
        let mut freest: Vec<usize> = (0..taken.len()).collect();
        freest.sort_by_key(|index| (taken[*index].taken, taken[*index].id));
        freest.truncate(count);
        if freest.len() < count || freest.iter().any(|index| taken[*index].taken + share > WHOLE) {
            return None;
        }
        let mut ids = BTreeSet::new();
        for index in freest {
            taken[index].taken += share;
            ids.insert(taken[index].id);
        }
        Some(CpuReservation { processors: Arc::clone(self), ids, share })
    }

    /// The place of a cell that another worker made, as its label says; full or not, the cell is there.
    #[must_use]
    pub fn adopt(self: &Arc<Self>, label: &str, cpus: f64) -> Option<CpuReservation> {
        let (_, share) = portions(cpus)?;
        let ids = parse(label).ok()?;
        for processor in self.taken.lock().iter_mut() {
            if ids.contains(&processor.id) {
                processor.taken += share;
            }
        }
        Some(CpuReservation { processors: Arc::clone(self), ids, share })
    }

    /// What a cell is to be bound to, as the engine wants it; empty: to nothing.
    #[must_use]
    pub fn list(&self, place: Option<&CpuReservation>) -> String {
        place.map_or_else(|| self.all.clone(), CpuReservation::list)
    }
}

impl CpuReservation {
    /// The ids, as the kernel writes them.
    #[must_use]
    pub fn list(&self) -> String {
        written(&self.ids)
    }
}

impl Drop for CpuReservation {
    fn drop(&mut self) {
        for processor in self.processors.taken.lock().iter_mut() {
            if self.ids.contains(&processor.id) {
                processor.taken = processor.taken.saturating_sub(self.share);
            }
        }
    }
}

/// Over how many processors a cell is spread, and how many thousandths of each it may use.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a template's cpus are 0.05 to 256")]
fn portions(cpus: f64) -> Option<(usize, u32)> {
    let thousandths = (cpus * f64::from(WHOLE)).round() as u32;
    let count = thousandths.div_ceil(WHOLE);
    (count > 0).then(|| (count as usize, thousandths.div_ceil(count)))
}

fn effective() -> Result<String, String> {
    let read = |path: &&str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let said = EFFECTIVE.iter().find_map(|path| read(path).filter(|list| !list.is_empty()));
    said.ok_or_else(|| format!("none of {} says which processors there are", EFFECTIVE.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_apart_until_no_processor_is_free() {
        let processors = CpuPool::from_setting("0-1").unwrap();
        let places: Vec<Option<CpuReservation>> = (0..5).map(|_| processors.place(0.5)).collect();
        let lists: Vec<String> = places.iter().map(|place| processors.list(place.as_ref())).collect();
        assert_eq!(lists, ["0", "1", "0", "1", "0-1"], "the fifth has no room and runs on all");
    }

    #[test]
    fn what_a_cell_had_is_free_again() {
        let processors = CpuPool::from_setting("2,4").unwrap();
        let first = processors.place(1.0).unwrap();
        let second = processors.place(0.75).unwrap();
        assert_eq!((first.list(), second.list()), ("2".to_owned(), "4".to_owned()));
        assert!(processors.place(0.5).is_none());
        drop(first);
        assert_eq!(processors.place(0.5).unwrap().list(), "2");
    }

    #[test]
    fn more_than_one_processor_is_spread_evenly() {
        let processors = CpuPool::from_setting("0-3").unwrap();
        let wide = processors.place(1.25).unwrap();
        assert_eq!(wide.list(), "0-1");
        let small: Vec<CpuReservation> = (0..6).filter_map(|_| processors.place(0.375)).collect();
        let lists: Vec<String> = small.iter().map(CpuReservation::list).collect();
        assert_eq!(lists, ["2", "3", "2", "3", "0", "1"], "625 of 1000 are taken of the first two");
        assert!(processors.place(4.5).is_none(), "there are four");
    }

    #[test]
    fn an_adopted_cell_keeps_its_place() {
        let processors = CpuPool::from_setting("0-1").unwrap();
        let adopted = processors.adopt("0", 0.5).unwrap();
        assert_eq!(processors.place(0.5).unwrap().list(), "1");
        drop(adopted);
        assert_eq!(processors.place(0.5).unwrap().list(), "0");
        assert!(processors.adopt("", 0.5).is_none(), "it was bound to nothing");
    }

    #[test]
    fn a_setting_is_a_list_or_none_or_empty() {
        let none = CpuPool::from_setting("none").unwrap();
        assert!(none.place(0.1).is_none());
        assert_eq!(none.list(None), "");
        let host = CpuPool::from_setting("").unwrap();
        assert!(host.place(0.1).is_some(), "this host has at least one");
        assert_eq!(host.list(None), "");
        for list in ["0", "0-2,5", "1,3,5-6"] {
            assert_eq!(written(&parse(list).unwrap()), list);
        }
        assert_eq!(CpuPool::from_setting("3,1,2").unwrap().list(None), "1-3");
        for wrong in ["x", "3-1", "0-", ",", "0-99999", "-1", "0-1-2"] {
            assert!(parse(wrong).unwrap_err().contains("0-3,8"), "{wrong}");
        }
    }
}
