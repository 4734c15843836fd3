//! The caps of admission. Claims and the explanation why a run waits use the same values.

use crate::config::Config;

/// How much may be active at one time over all workers, and how long a heavy run waits before slots are kept for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdmissionCaps {
    /// Active half-slots of all workers.
    pub total_half_slots: i32,
    /// Active runs of class B and C.
    pub browser: i32,
    /// Active runs of class A.
    pub api: i32,
    /// Active runs of one organisation.
    pub per_org: i32,
    /// Active runs of one user of an organisation.
    pub per_user: i32,
    /// Seconds after which slots are kept free for a run that is next in its turn but does not fit.
    pub heavy_patience_s: f64,
}

impl AdmissionCaps {
    /// The caps of the settings.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let runs = |cap: u32| i32::try_from(cap).unwrap_or(i32::MAX);
        Self {
            total_half_slots: runs(config.max_active_evaluations.saturating_mul(2)),
            browser: runs(config.max_active_browser_evals),
            api: runs(config.max_active_api_evals),
            per_org: runs(config.per_org_max_active),
            per_user: runs(config.per_user_max_active),
            // u32::MAX seconds is more than a century, and Postgres can still subtract it from a date.
            heavy_patience_s: f64::from(u32::try_from(config.heavy_patience_s).unwrap_or(u32::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_in_halves_and_nothing_overflows() {
        let caps = AdmissionCaps::from_config(&Config::default());
        assert_eq!((caps.total_half_slots, caps.browser, caps.api), (80, 20, 20));
        assert_eq!((caps.per_org, caps.per_user), (10, 2));
        let most = Config { per_org_max_active: u32::MAX, heavy_patience_s: u64::MAX, ..Config::default() };
        let caps = AdmissionCaps::from_config(&most);
        assert_eq!((caps.per_org, caps.heavy_patience_s), (i32::MAX, f64::from(u32::MAX)));
    }
}
