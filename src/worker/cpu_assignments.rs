//! The processors that the cells of one attempt run on. They are free again when this value is dropped.

use std::sync::Arc;

use assize_cell::Role;
use assize_cell::cpuset::{CpuPool, CpuReservation};
use parking_lot::Mutex;

/// The processors of each cell, at most one reservation for each role.
pub struct CpuAssignments {
    pool: Arc<CpuPool>,
    reservations: Mutex<Vec<(Role, CpuReservation)>>,
}

impl CpuAssignments {
    /// An attempt without processors of its own.
    pub fn none(pool: &Arc<CpuPool>) -> Self {
        Self { pool: Arc::clone(pool), reservations: Mutex::default() }
    }

    /// Reserves processors for a cell and calls `make` with the reservation. The processors that a cell of this role
    /// had before are released first.
    pub fn assign<T>(&self, role: Role, cpus: f64, make: impl FnOnce(Option<&CpuReservation>) -> T) -> T {
        self.release(role);
        let reservation = self.pool.place(cpus);
        let made = make(reservation.as_ref());
        self.insert(role, reservation);
        made
    }

    /// Reserves the processors that another worker chose for a cell, by the cell's label.
    pub fn adopt(&self, role: Role, label: &str, cpus: f64) {
        self.insert(role, self.pool.adopt(label, cpus));
    }

    /// Releases the processors of this role: its cell is gone.
    pub fn release(&self, role: Role) {
        self.reservations.lock().retain(|(other, _)| *other != role);
    }

    fn insert(&self, role: Role, reservation: Option<CpuReservation>) {
        let reserved = reservation.map(|reservation| (role, reservation));
        self.reservations.lock().extend(reserved);
    }
}
