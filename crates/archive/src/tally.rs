//! The sum of all entries, and what must hold of it.

use super::entry::{Entry, Kind};
use super::layout::Layout;
use super::record::{self, Directory};
use super::source::Source;
use super::summary::{ArchiveSummary, Contents, Reason};
use super::tree::Tree;
use super::{ArchiveProblem, Needed, RATIO_FLOOR, ScanLimits, in_pages, name};
use assize_protocol::names::{Name, Place, Reading, link};

/// The entries so far.
pub(super) struct Tally<'a> {
    source: &'a Source<'a>,
    reading: Reading<'a>,
    limits: &'a ScanLimits,
    layout: Layout,
    tree: Tree,
    needed: Needed,
    summary: ArchiveSummary,
    /// Declared bytes of all entries, ignored ones included.
    declared: u64,
    /// Declared bytes of the entries whose own ratio is above the limit.
    inflated: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(source: &'a Source<'a>, reading: Reading<'a>, limits: &'a ScanLimits) -> Self {
        let contents = Contents { top: name::shown(reading.top().join("/").as_bytes()), ..Contents::default() };
        let bytes = source.len();
        Self {
            source,
            reading,
            limits,
            layout: Layout::default(),
            tree: Tree::new(limits.style),
            needed: Needed { archive_bytes: bytes, ..Needed::default() },
            summary: ArchiveSummary { entries: 0, files: 0, unpacked_bytes: 0, bytes, contents },
            declared: 0,
            inflated: 0,
        }
    }

    /// Adds an entry: its structure, whatever it is, and its name and kind if it is not ignored.
    pub(super) fn add(&mut self, entry: &Entry, directory: &Directory) -> Result<(), ArchiveProblem> {
        let place = self.reading.place(&entry.text).map_err(|fault| name::problem(fault, entry.text.as_bytes()))?;
        let kind = match &place {
            Place::Ignored(pattern) => {
                self.summary.contents.add_ignored(*pattern, &entry.text);
                None
            }
            Place::Project(name) | Place::Beside(name) | Place::Above(name) => {
                name::check(name, self.limits)?;
                Some(entry.check(name.is_folder)?)
            }
        };
        self.layout.claim(entry.offset, || name::shown(entry.text.as_bytes()))?;
        self.summary.entries += 1;
        // Cannot overflow: each size was held to the limit, and the sum is after each.
        self.declared += entry.unpacked;
        if self.declared > self.limits.max_unpacked_bytes {
            let seen = self.declared;
            return Err(ArchiveProblem::UnpackedTooLarge { limit: self.limits.max_unpacked_bytes, seen });
        }
        self.check_ratio(entry)?;
        let local = entry.check_local(self.source)?;
        match (&place, kind) {
            (Place::Ignored(_), _) | (_, None) => {}
            (Place::Project(name), Some(Kind::Link)) => {
                entry.check_local_kind(&local)?;
                let target = entry.link_target(&local, self.source)?;
                match target.is_some_and(|target| link::stays_inside(&name.components, &target)) {
                    true => {
                        self.add_file(entry, name)?;
                        self.summary.contents.add(Reason::LinkAsFile, &entry.text);
                    }
                    false => {
                        self.tree.insert(name, None)?;
                        self.summary.contents.add(Reason::LinkLeftOut, &entry.text);
                    }
                }
            }
            (Place::Project(name), Some(Kind::File)) => {
                entry.check_local_kind(&local)?;
                self.add_file(entry, name)?;
                entry.check_head(&local, self.source, &self.limits.types)?;
            }
            (Place::Project(name), Some(Kind::Folder)) => self.tree.insert(name, Some(self.reading.top().len()))?,
            (Place::Above(name), Some(_)) => self.tree.insert(name, None)?,
            (Place::Beside(name), Some(_)) => {
                entry.check_local_kind(&local)?;
                self.tree.insert(name, None)?;
                self.summary.contents.add(Reason::BesideTop, &entry.text);
            }
        }
        self.layout.add(local.range, directory.offset)
    }

    /// Adds a file that comes into being in the cell.
    fn add_file(&mut self, entry: &Entry, name: &Name) -> Result<(), ArchiveProblem> {
        self.tree.insert(name, Some(self.reading.top().len()))?;
        self.limits.types.check_name(&entry.text, name.components.last().map_or("", String::as_str))?;
        self.summary.files += 1;
        self.summary.unpacked_bytes += entry.unpacked;
        self.needed.bytes = self.needed.bytes.saturating_add(in_pages(entry.unpacked));
        Ok(())
    }

    /// A ratio counts by what it would cost: many entries above the limit, or one large one.
    fn check_ratio(&mut self, entry: &Entry) -> Result<(), ArchiveProblem> {
        let Some(seen) = excessive_ratio(entry.unpacked, entry.packed, self.limits) else { return Ok(()) };
        self.inflated += entry.unpacked;
        if self.inflated <= RATIO_FLOOR {
            return Ok(());
        }
        let name = Some(name::shown(entry.text.as_bytes()));
        Err(ArchiveProblem::Ratio { name, limit: self.limits.max_ratio, seen })
    }

    /// Checks what only all entries together show.
    pub(super) fn finish(mut self, directory: &Directory) -> Result<ArchiveSummary, ArchiveProblem> {
        self.layout.check(record::marker_len(self.source)?, directory.offset)?;
        if self.summary.files == 0 {
            return Err(ArchiveProblem::Empty { seen: self.source.len() });
        }
        if self.declared > RATIO_FLOOR
            && let Some(seen) = excessive_ratio(self.declared, self.source.len(), self.limits)
        {
            return Err(ArchiveProblem::Ratio { name: None, limit: self.limits.max_ratio, seen });
        }
        // Last: what lies of itself is refused for that.
        self.needed.inodes = self.tree.unpacked();
        self.needed.check(&self.limits.room)?;
        Ok(self.summary)
    }
}

/// Unpacked bytes per packed byte, rounded up, if that is more than the limit.
fn excessive_ratio(unpacked: u64, packed: u64, limits: &ScanLimits) -> Option<u64> {
    let packed = packed.max(1);
    (unpacked > packed.saturating_mul(limits.max_ratio)).then(|| unpacked.div_ceil(packed))
}
