//! The caps of admission, as the settings give them.

use assize_config::Config;
use assize_domain::queue::AdmissionCaps;

/// Returns the caps that the settings give. Claims and the explanation of a wait use the same.
#[must_use]
pub fn caps(config: &Config) -> AdmissionCaps {
    let runs = |cap: u32| i32::try_from(cap).unwrap_or(i32::MAX);
    AdmissionCaps {
        total_half_slots: runs(config.max_active_evaluations.saturating_mul(2)),
        browser: runs(config.max_active_browser_evals),
        api: runs(config.max_active_api_evals),
        per_org: runs(config.per_org_max_active),
        per_user: runs(config.per_user_max_active),
        // More than a century means never, and is a span that Postgres can still subtract from a date.
        heavy_reserve_after_s: f64::from(u32::try_from(config.heavy_reserve_after_s).unwrap_or(u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_in_halves_and_nothing_overflows() {
        let default = caps(&Config::default());
        assert_eq!((default.total_half_slots, default.browser, default.api), (80, 20, 20));
        assert_eq!((default.per_org, default.per_user), (10, 2));
        let most = Config { per_org_max_active: u32::MAX, heavy_reserve_after_s: u64::MAX, ..Config::default() };
        let most = caps(&most);
        assert_eq!((most.per_org, most.heavy_reserve_after_s), (i32::MAX, f64::from(u32::MAX)));
    }
}
