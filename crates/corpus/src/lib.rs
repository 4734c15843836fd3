//! Archives made by hand for the tests of assize and for its attack on itself.
//!
//! [`mod@archive`] writes an archive from [`Member`]s and an [`Ending`] byte by byte, so that every field can lie.
//! [`hostile::archives`] lists the hostile archives once, each with what the scan must answer and what the warden must do
//! if no scan has seen it. Four suites iterate over that list: the attack, the tests of the scan, the tests of the
//! warden, and the tests of the pipeline that put archives into cells past the scan.

#![warn(missing_docs)]

mod archive;
pub mod hostile;
mod member;
mod project;

pub use archive::{Ending, archive, longs, numbers};
pub use member::{ABC_CRC, Member, crc32, deflated, file, folder, stored};
pub use project::project;
