//! The README's table of settings is what the code says.

use assize_config::{Config, SETTINGS};

const BEGIN: &str = "<!-- settings:begin -->\n";
const END: &str = "<!-- settings:end -->";

fn table() -> String {
    let defaults = toml::Table::try_from(Config::default()).expect("the defaults are a table");
    let mut table = "| setting | environment | default | what it is |\n|---|---|---|---|\n".to_owned();
    for setting in SETTINGS {
        let mut names = format!("`ASSIZE_{}`", setting.key.to_uppercase());
        if let Some(alias) = setting.alias {
            names.push_str(&format!(", `{alias}`"));
        }
        let default = &defaults[setting.key];
        table.push_str(&format!("| `{}` | {names} | `{default}` | {} |\n", setting.key, setting.what));
    }
    table
}

/// `UPDATE_README=1` writes the table instead of comparing it.
#[test]
fn the_readme_lists_every_setting_with_its_default() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (head, rest) = readme.split_once(BEGIN).expect("README.md has no settings:begin");
    let (seen, tail) = rest.split_once(END).expect("README.md has no settings:end");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write("README.md", format!("{head}{BEGIN}{}{END}{tail}", table())).unwrap();
        return;
    }
    assert_eq!(seen, table(), "run `UPDATE_README=1 cargo test --test readme`");
}
