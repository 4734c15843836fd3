//! Programs that make system calls for which no safe library exists.
//!
//! The probe must make a call to see that it is denied, with invalid arguments on purpose. To keep this process safe, a
//! program of a few hundred bytes of machine code makes the calls, writes what each one returned, and exits.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// One call: its number on this machine, and its arguments.
pub struct Call {
    pub number: u32,
    pub args: [u64; 6],
    /// Whether a permitted call returns twice; the second process then ends.
    pub forks: bool,
}

/// The result of a program.
pub enum Ran {
    /// The return values of the calls: a value, or a negative error number.
    Returned(Vec<i64>),
    /// A signal ended it.
    Killed(i32),
}

const PATH: &str = "/tmp/assize-probe-program";

/// Where the program lies in memory: header and code in one piece.
const ADDRESS: u64 = 0x40_0000;

/// Bytes of an ELF header and of its one program header.
const HEADERS: u64 = 64 + 56;

/// Makes these calls in a new process.
///
/// # Errors
/// The program cannot be written or run, or its output is incomplete.
pub fn make(calls: &[Call]) -> io::Result<Ran> {
    run(&machine::code(calls), calls.len())
}

/// Makes one call through the 32-bit entry of the kernel; `None` on machines without one.
///
/// # Errors
/// As [`make`].
pub fn make_32_bit() -> Option<io::Result<Ran>> {
    machine::code_32_bit().map(|code| run(&code, 1))
}

fn run(code: &[u8], results: usize) -> io::Result<Ran> {
    let _none_there = std::fs::remove_file(PATH);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(PATH)?;
    file.write_all(&elf(code))?;
    drop(file);
    let output = Command::new(PATH).stdin(Stdio::null()).output();
    let _only_a_probe = std::fs::remove_file(PATH);
    let output = output?;
    if let Some(signal) = output.status.signal() {
        return Ok(Ran::Killed(signal));
    }
    let returned: Vec<i64> = output
        .stdout
        .chunks_exact(machine::SLOT)
        .filter_map(|slot| Some(i64::from_le_bytes(*slot.first_chunk()?)))
        .collect();
    if returned.len() != results {
        return Err(io::Error::other(format!("{} of {results} calls were reported", returned.len())));
    }
    // The last lies lowest on the stack.
    Ok(Ran::Returned(returned.into_iter().rev().collect()))
}

/// A static program of one segment, which is all of the file.
fn elf(code: &[u8]) -> Vec<u8> {
    /// Readable and executable.
    const READ_EXECUTE: u32 = 5;
    let length = HEADERS + code.len() as u64;
    let mut file = vec![0x7F, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    file.extend(2u16.to_le_bytes()); // a program at a fixed address
    file.extend(machine::ELF.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for word in [ADDRESS + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes()); // entry, program headers, no sections
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes()); // to be loaded
    file.extend(READ_EXECUTE.to_le_bytes());
    for word in [0, ADDRESS, ADDRESS, length, length, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend_from_slice(code);
    file
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use super::Call;

    pub const ELF: u16 = 62;
    /// Bytes on the stack for each result.
    pub const SLOT: usize = 8;
    const WRITE: u32 = 1;
    const EXIT: u32 = 60;

    const SYSCALL: [u8; 2] = [0x0F, 0x05];
    const PUSH_RAX: u8 = 0x50;

    pub fn code(calls: &[Call]) -> Vec<u8> {
        let mut code = Vec::new();
        for call in calls {
            numbered(call.number, &mut code);
            // movabs into rdi, rsi, rdx, r10, r8, r9
            let registers = [[0x48, 0xBF], [0x48, 0xBE], [0x48, 0xBA], [0x49, 0xBA], [0x49, 0xB8], [0x49, 0xB9]];
            for (register, value) in registers.iter().zip(call.args) {
                code.extend(register);
                code.extend(value.to_le_bytes());
            }
            code.extend(SYSCALL);
            if call.forks {
                let mut end = Vec::new();
                exit(&mut end);
                // test rax, rax; jnz past the end
                code.extend([0x48, 0x85, 0xC0, 0x75, u8::try_from(end.len()).unwrap_or(0)]);
                code.extend(end);
            }
            code.push(PUSH_RAX);
        }
        tell(calls.len(), &mut code);
        code
    }

    /// `getpid` of the 32-bit table, by `int 0x80`.
    #[expect(clippy::unnecessary_wraps, reason = "other machines have no such gate")]
    pub fn code_32_bit() -> Option<Vec<u8>> {
        let mut code = Vec::new();
        numbered(20, &mut code);
        code.extend([0xCD, 0x80, PUSH_RAX]);
        tell(1, &mut code);
        Some(code)
    }

    /// mov rax, number
    fn numbered(number: u32, code: &mut Vec<u8>) {
        code.extend([0x48, 0xC7, 0xC0]);
        code.extend(number.to_le_bytes());
    }

    fn exit(code: &mut Vec<u8>) {
        numbered(EXIT, code);
        code.extend([0x31, 0xFF]); // xor edi, edi
        code.extend(SYSCALL);
    }

    /// Writes the stack to stdout and exits.
    fn tell(results: usize, code: &mut Vec<u8>) {
        numbered(WRITE, code);
        code.extend([0x48, 0xBF]); // rdi: stdout
        code.extend(1u64.to_le_bytes());
        code.extend([0x48, 0x89, 0xE6]); // mov rsi, rsp
        code.extend([0x48, 0xBA]); // rdx: length
        code.extend(((results * SLOT) as u64).to_le_bytes());
        code.extend(SYSCALL);
        exit(code);
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    use super::Call;

    pub const ELF: u16 = 183;
    /// Bytes on the stack for each result: it has to stay aligned.
    pub const SLOT: usize = 16;
    const WRITE: u64 = 64;
    const EXIT: u64 = 93;

    const SVC: u32 = 0xD400_0001;
    /// str x0, [sp, #-16]!
    const PUSH_X0: u32 = 0xF81F_0FE0;
    /// add x1, sp, #0
    const X1_IS_SP: u32 = 0x9100_03E1;
    /// cbnz x0, a number of instructions ahead
    const CBNZ_X0: u32 = 0xB500_0000;

    pub fn code(calls: &[Call]) -> Vec<u8> {
        let mut code = Vec::new();
        for call in calls {
            for (register, value) in (0u32..).zip(call.args) {
                code.extend(set(register, value));
            }
            code.extend(set(8, u64::from(call.number)));
            code.push(SVC);
            if call.forks {
                let end = exit();
                code.push(CBNZ_X0 | (u32::try_from(end.len()).unwrap_or(0) + 1) << 5);
                code.extend(end);
            }
            code.push(PUSH_X0);
        }
        code.extend(set(0, 1));
        code.push(X1_IS_SP);
        code.extend(set(2, (calls.len() * SLOT) as u64));
        code.extend(set(8, WRITE));
        code.push(SVC);
        code.extend(exit());
        code.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    pub fn code_32_bit() -> Option<Vec<u8>> {
        None
    }

    fn exit() -> Vec<u32> {
        let mut code = set(0, 0).to_vec();
        code.extend(set(8, EXIT));
        code.push(SVC);
        code
    }

    /// movz and three movk
    fn set(register: u32, value: u64) -> [u32; 4] {
        [0u32, 1, 2, 3].map(|quarter| {
            let bits = u32::from(u16::try_from(value >> (16 * quarter) & 0xFFFF).unwrap_or(0));
            let base = if quarter == 0 { 0xD280_0000 } else { 0xF280_0000 };
            base | quarter << 21 | bits << 5 | register
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_what_each_call_returned() {
        // getppid and an unknown call, on both machines.
        let getppid = if cfg!(target_arch = "x86_64") { 110 } else { 173 };
        let call = |number| Call { number, args: [0; 6], forks: false };
        let Ran::Returned(returned) = make(&[call(getppid), call(9_999)]).unwrap() else { panic!("killed") };
        assert_eq!(returned, [i64::from(std::process::id()), -38]);
    }
}
