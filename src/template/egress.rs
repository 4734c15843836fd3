//! What a stage may reach, as a template says it.

use serde::Deserialize;

use crate::egress::Allow;

/// A host and port, or a registry that the settings name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Entry")]
pub enum Reach {
    Host(Allow),
    Registry(Registry),
}

/// Each has a setting of its own for its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registry {
    /// `npm_registry`.
    Npm,
}

/// Less than the settings let every stage have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressQuota {
    pub connections: u64,
    pub mib: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    host: Option<String>,
    port: Option<u16>,
    registry: Option<Registry>,
}

impl TryFrom<Entry> for Reach {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        match entry {
            Entry { host: Some(host), port: Some(port), registry: None } => Allow::new(&host, port).map(Self::Host),
            Entry { host: None, port: None, registry: Some(registry) } => Ok(Self::Registry(registry)),
            _ => Err("an entry of egress has `host` and `port`, or `registry`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Reach>, String> {
        #[derive(Debug, Deserialize)]
        struct Holder {
            egress: Vec<Reach>,
        }
        toml::from_str::<Holder>(text).map(|holder| holder.egress).map_err(|error| error.to_string())
    }

    #[test]
    fn an_entry_is_a_host_with_its_port_or_a_registry() {
        let read_all = read(r#"egress = [{ host = "*.example.org", port = 443 }, { registry = "npm" }]"#).unwrap();
        assert_eq!(read_all, [Reach::Host(Allow::new("*.example.org", 443).unwrap()), Reach::Registry(Registry::Npm)]);
        for wrong in [
            r#"egress = [{ host = "a.example" }]"#,
            r#"egress = [{ port = 443 }]"#,
            r#"egress = [{ host = "a.example", port = 0 }]"#,
            r#"egress = [{ host = "a.example", port = 65536 }]"#,
            r#"egress = [{ host = "*", port = 443 }]"#,
            r#"egress = [{ registry = "other" }]"#,
            r#"egress = [{ registry = "npm", port = 443 }]"#,
            r#"egress = [{ host = "a.example", port = 443, surprise = 1 }]"#,
            r#"egress = ["a.example:443"]"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
