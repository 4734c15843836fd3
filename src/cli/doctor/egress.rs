//! Checks that the stages of templates can reach what their templates list, before a run finds out.

use assize_config::Config;
use assize_host::clock::Clock;

use super::Report;
use crate::template::Templates;
use crate::worker::egress::{EgressPolicy, ReachProblem};

/// Resolves every host that a template lists and checks its addresses, as the worker does for a run. Nothing is dialled.
pub(super) async fn examine(config: &Config, templates: &Templates, report: &mut Report) {
    let policy = match EgressPolicy::open(&Clock::system(), config, templates) {
        Ok(policy) => policy,
        Err(error) => return report.fail("egress", format!("{error:#}"), "correct this setting"),
    };
    for template in templates.iter() {
        for (place, tried) in policy.try_hosts(template, config).await {
            let name = &template.name;
            match tried {
                Ok(()) => report.ok("egress", format!("{name} may reach {place}")),
                Err(ReachProblem::SettingMissing) => report.warn(
                    "egress",
                    format!("{name}: the setting {place} is empty, so that its stages can install nothing"),
                    "set it, or remove the template",
                ),
                Err(ReachProblem::Refused(reason)) => report.fail(
                    "egress",
                    format!("{name} may reach {place}, but {reason}"),
                    "name the address in egress_private_hosts if it is yours, or correct the name or the resolver",
                ),
            }
        }
    }
}
