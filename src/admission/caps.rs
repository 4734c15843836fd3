//! The caps of admission, made of the settings in one place for claims and for their explanation.

use crate::config::Config;

/// What may be active at one time over all workers, and when a heavy run's patience ends.
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
    /// Seconds after which slots are kept free for a run whose turn it is and that does not fit.
    pub heavy_patience_s: f64,
}

impl AdmissionCaps {
    /// As the settings have them.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let runs = |cap: u32| i32::try_from(cap).unwrap_or(i32::MAX);
        Self {
            total_half_slots: runs(config.max_active_evaluations.saturating_mul(2)),
            browser: runs(config.max_active_browser_evals),
            api: runs(config.max_active_api_evals),
            per_org: runs(config.per_org_max_active),
            per_user: runs(config.per_user_max_active),
            // More than a century is for ever, and what Postgres can still subtract from a date.
            heavy_patience_s: f64::from(u32::try_from(config.heavy_patience_s).unwrap_or(u32::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_in_halves_and_nothing_overflows() {
        let caps = AdmissionCaps::of(&Config::default());
        assert_eq!((caps.total_half_slots, caps.browser, caps.api), (80, 20, 20));
        assert_eq!((caps.per_org, caps.per_user), (10, 2));
        let most = Config { per_org_max_active: u32::MAX, heavy_patience_s: u64::MAX, ..Config::default() };
        let caps = AdmissionCaps::of(&most);
        assert_eq!((caps.per_org, caps.heavy_patience_s), (i32::MAX, f64::from(u32::MAX)));
    }
}
