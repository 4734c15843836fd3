//! The caps of admission.

/// How many runs may be active at one time over all workers, and when slots are reserved for a heavy run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdmissionCaps {
    /// Half-slots of all workers.
    pub total_half_slots: i32,
    /// Runs of class B and C.
    pub browser: i32,
    /// Runs of class A.
    pub api: i32,
    /// Runs of one organisation.
    pub per_org: i32,
    /// Runs of one user of an organisation.
    pub per_user: i32,
    /// Seconds after which free slots are reserved for a run whose turn it is and that does not fit.
    pub heavy_reserve_after_s: f64,
}
