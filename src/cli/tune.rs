//! `assize tune`: prints what Postgres, Redis, the kernel, the slices and assize should be set to on this host.

mod memory;
mod sections;

use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::{self, Terminal};

pub(in crate::cli) use self::memory::{Host, Memory, reserved_huge_pages_mib};
use self::sections::{Section, sections};

const EXAMPLES: &str = "\
EXAMPLES:
  assize tune
  assize tune --json | jq '.memory'
  assize tune --cpus 48 --memory-gib 192       (the reference host: postgres/assize.conf)";

/// Print the configuration of Postgres, Redis, the kernel and assize for this host.
///
/// The command divides the memory of the host between cells, Postgres, Redis, the services and the page cache, and prints
/// the values for each, with the reason. It changes nothing. Everything is assumed to run on this one host.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Tune {
    /// Print the values as JSON.
    #[arg(long)]
    json: bool,
    /// Assume this number of processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    cpus: Option<u32>,
    /// Assume this memory, in GiB.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    memory_gib: Option<u64>,
    /// The name of the installation: the setting `instance`.
    #[arg(long, value_name = "NAME", default_value = "assize")]
    instance: String,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] if the host is not known and not described.
pub fn run(command: &Tune) -> Outcome {
    let seen = Host::read();
    let unknown =
        |what: &str, option: &str| Fault::usage(format!("the {what} of this host is not known; use {option}"));
    let host = Host {
        cpus: command.cpus.or(seen.map(|host| host.cpus)).ok_or_else(|| unknown("number of processors", "--cpus"))?,
        memory_mib: command
            .memory_gib
            .map(|gib| gib * 1024)
            .or(seen.map(|host| host.memory_mib))
            .ok_or_else(|| unknown("memory", "--memory-gib"))?,
    };
    if host.memory_mib < memory::MIN_HOST_MIB {
        return Err(Fault::usage(format!(
            "the host has {} MiB of memory, one that runs everything needs {}; use a larger host",
            host.memory_mib,
            memory::MIN_HOST_MIB
        )));
    }
    let memory = Memory::divide(host);
    let sections = sections(host, &memory, &command.instance);
    if command.json {
        let shares: Vec<_> =
            memory.shares().iter().map(|(who, mib)| serde_json::json!({ "who": who, "mib": mib })).collect();
        terminal::json(&serde_json::json!({ "host": host, "memory": shares, "files": sections }));
    } else {
        let terminal = Terminal::stdout();
        for line in text(host, &memory, &sections).lines() {
            terminal.line(line);
        }
    }
    Ok(Exit::Success)
}

/// Returns the whole as text: one block for each file, which can be copied as it is.
fn text(host: Host, memory: &Memory, sections: &[Section]) -> String {
    let mut text = format!(
        "# For a host with {} processors and {:.1} GiB of memory that runs everything.\n#\n# memory          MiB\n",
        host.cpus,
        gib(host.memory_mib)
    );
    for (who, mib) in memory.shares() {
        text.push_str(&format!("#   {who:<12}{mib:>6}\n"));
    }
    for section in sections {
        text.push('\n');
        text.push_str(&section.text());
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a host has less than 2^52 MiB")]
fn gib(mib: u64) -> f64 {
    mib as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: Host = Host { cpus: 48, memory_mib: 192 * 1024 };

    /// `UPDATE_SNAPSHOTS=1` writes the files of the reference host instead of comparing them.
    #[test]
    fn the_files_of_the_reference_host_are_what_tune_prints() {
        let memory = Memory::divide(REFERENCE);
        let sections = sections(REFERENCE, &memory, "assize");
        for (file, path) in
            [(sections::POSTGRES_FILE, "postgres/assize.conf"), (sections::REDIS_FILE, "redis/assize.conf")]
        {
            let section = sections.iter().find(|section| section.file == file).unwrap();
            let text = format!(
                "# Written by `assize tune --cpus 48 --memory-gib 192` (m7i.12xlarge, the reference host).\n{}",
                section.text()
            );
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let seen = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(seen, text, "run `UPDATE_SNAPSHOTS=1 cargo test --lib tune`");
        }
    }

    #[test]
    fn every_value_has_a_reason() {
        let memory = Memory::divide(REFERENCE);
        for section in sections(REFERENCE, &memory, "assize") {
            assert!(!section.lines.is_empty(), "{}", section.file);
            for line in section.lines {
                assert!(line.reason.ends_with('.') && line.reason.len() > 20, "{}: {}", line.name, line.reason);
            }
        }
    }

    #[test]
    fn the_text_names_every_share() {
        let memory = Memory::divide(REFERENCE);
        let text = text(REFERENCE, &memory, &[]);
        assert!(text.contains("#   cells        98304\n"), "{text}");
        assert!(text.contains("48 processors and 192.0 GiB"), "{text}");
    }
}
