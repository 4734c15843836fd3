//! The standard input of a call, as it comes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

use assize_protocol::exec::{Call, MAX_STDIN};
use nix::fcntl::OFlag;
use nix::fcntl::{FcntlArg, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;

/// A call that is not complete yet.
pub struct Incoming {
    call: Call,
    input: File,
    length: u64,
}

impl Incoming {
    /// # Errors
    /// There is no memory for its input.
    pub fn new(call: Call) -> Result<Self, String> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let input = memfd_create(c"stdin", flags).map(File::from).map_err(|errno| unheld(&errno.into()))?;
        Ok(Self { call, input, length: 0 })
    }

    /// # Errors
    /// The input is too long, or the cell cannot hold it.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.length += bytes.len() as u64;
        if self.length > MAX_STDIN {
            let length = self.length;
            return Err(format!("the input has {length} bytes or more, the limit is {MAX_STDIN}; shorten it"));
        }
        self.input.write_all(bytes).map_err(|error| unheld(&error))
    }

    /// The call, and its input to be read from the start. The program can change neither the bytes nor where another
    /// descriptor reads them.
    ///
    /// # Errors
    /// The input cannot be sealed.
    pub fn complete(self) -> Result<(Call, File), String> {
        let all = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
        let unsealed = |errno: nix::errno::Errno| format!("the input cannot be sealed: {errno}");
        fcntl(&self.input, FcntlArg::F_ADD_SEALS(all)).map_err(unsealed)?;
        let path = format!("/proc/self/fd/{}", self.input.as_raw_fd());
        let reader = open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(unsealed)?;
        Ok((self.call, File::from(reader)))
    }
}

fn unheld(error: &io::Error) -> String {
    format!("the subject's cell cannot hold the input: {error}; shorten it, or raise limits.memory_mib")
}
