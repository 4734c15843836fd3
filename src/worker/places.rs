//! The processors that the cells of one attempt run on, free again when the attempt lets go of its cells.

use std::sync::{Arc, Mutex, PoisonError};

use assize_cell::Role;
use assize_cell::cpuset::{CpuPool, CpuReservation};

/// At most one place for each role.
pub struct Places {
    processors: Arc<CpuPool>,
    held: Mutex<Vec<(Role, CpuReservation)>>,
}

impl Places {
    /// None yet.
    pub fn none(processors: &Arc<CpuPool>) -> Self {
        Self { processors: Arc::clone(processors), held: Mutex::default() }
    }

    /// Finds room for a cell and makes something of it; what the cell of this role had before is free.
    pub fn find<T>(&self, role: Role, cpus: f64, make: impl FnOnce(Option<&CpuReservation>) -> T) -> T {
        self.free(role);
        let place = self.processors.place(cpus);
        let made = make(place.as_ref());
        self.hold(role, place);
        made
    }

    /// The place of a cell that another worker made, as its label says.
    pub fn adopt(&self, role: Role, label: &str, cpus: f64) {
        self.hold(role, self.processors.adopt(label, cpus));
    }

    /// The cell of this role is gone.
    pub fn free(&self, role: Role) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _)| *of != role);
    }

    fn hold(&self, role: Role, place: Option<CpuReservation>) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).extend(place.map(|place| (role, place)));
    }
}
