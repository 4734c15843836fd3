//! docs/ATTACKS.md lists the cases that the code has.

const BEGIN: &str = "<!-- cases:begin -->\n";
const END: &str = "<!-- cases:end -->";

/// `UPDATE_SNAPSHOTS=1` writes the table instead of comparing it.
#[test]
fn the_list_of_attacks_is_what_the_code_tries() {
    let document = std::fs::read_to_string("docs/ATTACKS.md").unwrap();
    let (head, rest) = document.split_once(BEGIN).expect("docs/ATTACKS.md has no cases:begin");
    let (seen, tail) = rest.split_once(END).expect("docs/ATTACKS.md has no cases:end");
    let table = assize_attack::table();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write("docs/ATTACKS.md", format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(seen, table, "run `UPDATE_SNAPSHOTS=1 cargo test --test attacks`");
}
