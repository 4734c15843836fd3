//! The templates of a process that loads them anew while it runs.
//!
//! Whoever has taken the templates, or one of them, keeps it: a run ends with the template that it began with. A template
//! that cannot be used is refused with its reason. If there is an earlier version of it, that version stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Template, TemplateError, Templates, load_each};

/// The templates as they are now.
#[derive(Debug, Clone)]
pub struct LiveTemplates(Arc<Live>);

#[derive(Debug)]
struct Live {
    folder: PathBuf,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    templates: Arc<Templates>,
    /// The reason by the name of each template whose latest version cannot be used.
    refused: BTreeMap<String, String>,
}

/// Templates that were read and are not in use yet: their user may refuse some of them.
#[derive(Debug)]
pub struct Reload {
    read: BTreeMap<String, Arc<Template>>,
    refused: BTreeMap<String, String>,
    before: Arc<Templates>,
}

impl LiveTemplates {
    /// Loads every template of a folder.
    ///
    /// # Errors
    /// The first [`TemplateError`]: a process does not start with a template that cannot be used.
    pub fn load(folder: &Path) -> Result<Self, TemplateError> {
        let templates = Arc::new(Templates::load(folder)?);
        templates.iter().for_each(|template| assize_observe::metrics().template_loaded(&template.name));
        let state = RwLock::new(State { templates, refused: BTreeMap::new() });
        Ok(Self(Arc::new(Live { folder: folder.to_owned(), state })))
    }

    /// The templates that are in use now.
    #[must_use]
    pub fn current(&self) -> Arc<Templates> {
        Arc::clone(&self.0.state.read().templates)
    }

    /// The names of the templates whose latest version was refused.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.0.state.read().refused.keys().cloned().collect()
    }

    /// Reads the folder anew, and changes nothing yet.
    ///
    /// # Errors
    /// [`TemplateError`] if the folder cannot be read, or has no template.
    pub fn read_again(&self) -> Result<Reload, TemplateError> {
        let mut reload = Reload { read: BTreeMap::new(), refused: BTreeMap::new(), before: self.current() };
        for (name, template) in load_each(&self.0.folder)? {
            match template {
                Ok(template) => _ = reload.read.insert(name, Arc::new(template)),
                Err(error) => reload.refuse(&name, error.reason),
            }
        }
        Ok(reload)
    }

    /// Takes what was read into use, logs what changed, and returns the names of the templates that were loaded and the
    /// reason for each that was refused.
    pub fn take_into_use(&self, reload: Reload) -> (Vec<String>, BTreeMap<String, String>) {
        let Reload { read, refused, before } = reload;
        for (name, reason) in &refused {
            let kept = before.get(name).map(|template| template.digest.as_str());
            tracing::error!(template = name, reason, kept, "a template was refused; its earlier version stays in use");
        }
        let mut loaded = Vec::new();
        for template in read.values().filter(|template| is_new(&before, template)) {
            tracing::info!(template = template.name, digest = template.digest, "a template was loaded");
            assize_observe::metrics().template_loaded(&template.name);
            loaded.push(template.name.clone());
        }
        assize_observe::metrics().templates_refused(refused.len());
        *self.0.state.write() = State { templates: Arc::new(Templates(read)), refused: refused.clone() };
        (loaded, refused)
    }
}

impl Reload {
    /// The templates that were not in use before, or not in this version.
    pub fn changed(&self) -> Vec<Arc<Template>> {
        self.read.values().filter(|template| is_new(&self.before, template)).cloned().collect()
    }

    /// Refuses a template for this reason.
    pub fn refuse(&mut self, name: &str, reason: String) {
        self.read.remove(name);
        if let Some(kept) = self.before.get(name) {
            self.read.insert(name.to_owned(), Arc::clone(kept));
        }
        self.refused.insert(name.to_owned(), reason);
    }
}

fn is_new(before: &Templates, template: &Template) -> bool {
    before.get(&template.name).is_none_or(|known| known.digest != template.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, pids: u32) {
        let text = format!(
            "description = \"d\"\nclass = \"A\"\nimage = \"i\"\n\
             limits = {{ cpus = 1.0, memory_mib = 64, pids = {pids}, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 }}\n\
             stages = [{{ name = \"tests\", command = [\"true\"], timeout_s = 1 }}]\n\
             results = {{ format = \"exit_code\" }}\nglobal = {{ timeout_s = 10 }}\n"
        );
        std::fs::create_dir_all(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("template.toml"), text).unwrap();
    }

    fn pids(live: &LiveTemplates) -> Vec<(String, u64)> {
        live.current().iter().map(|template| (template.name.clone(), template.limits.pids)).collect()
    }

    fn reload(live: &LiveTemplates) {
        let read = live.read_again().unwrap();
        live.take_into_use(read);
    }

    #[test]
    fn what_cannot_be_used_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for name in ["bad", "changed", "gone"] {
            write(path, name, 16);
        }
        let live = LiveTemplates::load(path).unwrap();
        let begun = live.current();
        write(path, "bad", 1);
        write(path, "changed", 32);
        write(path, "new", 64);
        write(path, "new-and-bad", 1);
        std::fs::remove_dir_all(path.join("gone")).unwrap();
        reload(&live);
        let named = |all: &[(&str, u64)]| -> Vec<(String, u64)> {
            all.iter().map(|(name, pids)| ((*name).to_owned(), *pids)).collect()
        };
        assert_eq!(pids(&live), named(&[("bad", 16), ("changed", 32), ("new", 64)]));
        assert_eq!(live.refused(), ["bad", "new-and-bad"]);
        assert_eq!(begun.get("changed").unwrap().limits.pids, 16, "whoever has begun keeps what it began with");
        write(path, "bad", 17);
        std::fs::remove_dir_all(path.join("new-and-bad")).unwrap();
        reload(&live);
        assert_eq!((live.refused(), pids(&live)[0].1), (Vec::new(), 17));
    }

    #[test]
    fn whoever_uses_the_templates_may_refuse_one() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "known", 16);
        let live = LiveTemplates::load(folder.path()).unwrap();
        write(folder.path(), "known", 17);
        write(folder.path(), "new", 16);
        let mut read = live.read_again().unwrap();
        let changed: Vec<_> = read.changed().iter().map(|template| template.name.clone()).collect();
        assert_eq!(changed, ["known", "new"]);
        changed.iter().for_each(|name| read.refuse(name, "there is no image".to_owned()));
        let (loaded, refused) = live.take_into_use(read);
        assert_eq!((loaded, refused.len()), (Vec::<String>::new(), 2));
        assert_eq!((pids(&live), live.refused()), (vec![("known".to_owned(), 16)], changed));
    }

    #[test]
    fn a_folder_that_cannot_be_read_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "known", 16);
        let live = LiveTemplates::load(folder.path()).unwrap();
        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(live.read_again().is_err());
        assert_eq!(pids(&live).len(), 1);
    }
}
