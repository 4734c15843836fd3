//! A report in the format `ctrf`.

#![no_main]

mod report;

use assize_domain::verdict::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| report::check(Format::Ctrf, bytes));
