use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn every_file_of_every_template_is_embedded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let mut found = BTreeMap::new();
    for entry in ignore::WalkBuilder::new(&folder).standard_filters(false).build().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_file() && !path.to_string_lossy().contains("__pycache__") {
            let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
            let is_program = path.metadata().unwrap().permissions().mode() & 0o100 != 0;
            found.insert(name, is_program);
        }
    }
    let embedded: BTreeMap<String, bool> = TEMPLATES
        .iter()
        .flat_map(|template| template.files.iter().map(|(path, _)| (template.name, *path)))
        .map(|(name, path)| (format!("{name}/{path}"), EmbeddedTemplate::is_program(path)))
        .collect();
    assert_eq!(embedded, found);
}
