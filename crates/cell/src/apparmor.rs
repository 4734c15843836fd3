//! Which AppArmor profile confines the cells.
//!
//! Ours is `apparmor/assize-cell` of this repository; an SRE loads it. Where it is not loaded, the
//! engine's own (`docker-default`) has to do; where the host has no AppArmor, there is none.

use std::path::Path;

/// The name of our profile.
pub const OURS: &str = "assize-cell";

/// What the engine confines with unless it is told otherwise.
const ENGINES: &str = "docker-default";

/// The loaded profiles, a line each: `name (mode)`. Only root may read it.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// What a cell is confined by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// What the engine is told to use; `None`: what it uses by itself.
    pub named: Option<String>,
    /// What must be seen from inside; `None` on a host without AppArmor.
    pub expected: Option<String>,
}

/// The loaded profiles, if they can be seen.
#[must_use]
pub fn loaded() -> Option<String> {
    std::fs::read_to_string(Path::new(LOADED)).ok()
}

/// Decides by the setting `apparmor_profile`, whether the engine has AppArmor, and the loaded profiles.
///
/// # Errors
/// What is wrong with the setting, and what to do.
pub fn choose(setting: &str, engine_has_it: bool, loaded: Option<&str>) -> Result<Confinement, String> {
    let is_enforced = |name: &str| {
        loaded.map(|loaded| loaded.lines().any(|line| line.trim_end().strip_suffix(" (enforce)") == Some(name)))
    };
    let with = |name: &str| Confinement { named: Some(name.to_owned()), expected: Some(name.to_owned()) };
    match setting {
        "" if !engine_has_it => Ok(Confinement::default()),
        "" if is_enforced(OURS) == Some(true) => Ok(with(OURS)),
        "" => Ok(Confinement { named: None, expected: Some(ENGINES.to_owned()) }),
        "unconfined" => Err("apparmor_profile is \"unconfined\", which is none; leave it empty".to_owned()),
        name if !engine_has_it => {
            Err(format!("apparmor_profile is {name:?}, but the engine's host has no AppArmor; leave it empty"))
        }
        // The engine brings its own when it needs it.
        name if name != ENGINES && is_enforced(name) == Some(false) => Err(format!(
            "apparmor_profile is {name:?}, but no profile of this name is enforced; load it with `apparmor_parser -r`"
        )),
        name => Ok(with(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "docker-default (enforce)\nassize-cell (enforce)\nlax (complain)\n";

    #[test]
    fn ours_is_used_where_it_is_loaded_and_the_engines_own_elsewhere() {
        let ours = Confinement { named: Some(OURS.to_owned()), expected: Some(OURS.to_owned()) };
        let engines = Confinement { named: None, expected: Some("docker-default".to_owned()) };
        assert_eq!(choose("", true, Some(LIST)), Ok(ours.clone()));
        assert_eq!(choose("", true, Some("docker-default (enforce)\n")), Ok(engines.clone()));
        assert_eq!(choose("", true, Some("assize-cell (complain)\nassize-cell-2 (enforce)\n")), Ok(engines.clone()));
        assert_eq!(choose("", true, None), Ok(engines), "what cannot be seen is not counted on");
        assert_eq!(choose("", false, Some(LIST)), Ok(Confinement::default()));
        assert_eq!(choose("assize-cell", true, None), Ok(ours), "a name is taken at its word: the probe looks");
    }

    #[test]
    fn a_profile_that_cannot_confine_is_refused_with_what_to_do() {
        let refused = |setting: &str, has, loaded| choose(setting, has, loaded).unwrap_err();
        assert!(refused("assize-cell", false, None).contains("no AppArmor"));
        assert!(refused("lax", true, Some(LIST)).contains("apparmor_parser -r"));
        assert!(refused("missing", true, Some(LIST)).contains("\"missing\""));
        assert!(refused("unconfined", true, Some(LIST)).contains("leave it empty"));
        assert!(choose("docker-default", true, Some("")).is_ok());
    }
}
