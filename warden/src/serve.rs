//! Serves one plan from Hello to End. `stages` runs the stages.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::process::ExitCode;

use assize_protocol::event::{End, EndStatus, Hello, ResultsStatus};
use assize_protocol::frame::{Frame, FrameError, Kind};
use assize_protocol::plan::{Input, MAX_PLAN, Plan, VERSION};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, umask};

use crate::artifacts;
use crate::channel::Channel;
use crate::clock;
use crate::handover::{Held, mount_of};
use crate::inbox::Inbox;
use crate::reaper::Reaper;
use crate::results;
use crate::stages::Stages;
use crate::unpack::{self, Interrupt, Unpacked};

/// Why a plan ended before its first stage.
enum Early {
    Finish,
    Status(EndStatus),
}

impl Early {
    fn fault(error: impl Into<String>) -> Self {
        Self::Status(EndStatus::Fault { error: error.into() })
    }
}

impl From<FrameError> for Early {
    fn from(error: FrameError) -> Self {
        Self::fault(format!("the stream is invalid: {error}"))
    }
}

/// Serves one plan. The exit code is 0 after an End frame with the status of the plan, and 1 after a fault. A panic ends the
/// process too, and with PID 1 the whole cell.
pub fn serve() -> ExitCode {
    match guard().and_then(Warden::run) {
        Ok(EndStatus::Fault { .. }) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warden: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Protects the channel from the project, before any process of the project exists.
fn guard() -> io::Result<Warden> {
    nix::sys::prctl::set_dumpable(false)?;
    fcntl(io::stdin(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(io::stdout(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(io::stderr(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(Warden { channel: Channel::default(), inbox: Inbox::new(), reaper: Reaper::new()? })
}

struct Warden {
    channel: Channel,
    inbox: Inbox,
    reaper: Reaper,
}

impl Warden {
    fn run(mut self) -> io::Result<EndStatus> {
        self.channel.event(Kind::Hello, &Hello { version: VERSION, at_us: clock::now_us() })?;
        let (status, results, artifacts) = match self.receive_plan() {
            Ok(plan) => {
                let evaluated = self.evaluate(&plan);
                // In every case, no process may be left that could write the results while they are read.
                let is_alone = self.reaper.clear_everything();
                let status = evaluated?;
                let results = match &plan.results {
                    Some(file) if is_alone => results::send(file, &mut self.channel)?,
                    Some(file) => results::contested(file),
                    None => ResultsStatus::None,
                };
                let artifacts = match &plan.artifacts {
                    Some(rules) if is_alone => Some(artifacts::send(rules, &mut self.channel)?),
                    Some(_) => Some(artifacts::contested()),
                    None => None,
                };
                (status, results, artifacts)
            }
            Err(Early::Finish) => (EndStatus::Done, ResultsStatus::None, None),
            Err(Early::Status(status)) => (status, ResultsStatus::None, None),
        };
        let end = End { at_us: clock::now_us(), status: status.clone(), results, artifacts };
        self.channel.event(Kind::End, &end)?;
        Ok(status)
    }

    fn receive_plan(&mut self) -> Result<Plan, Early> {
        let mut bytes = Vec::new();
        loop {
            let Some(frame) = self.inbox.wait(None)? else { continue };
            match frame.kind {
                Kind::Plan if bytes.len() + frame.payload.len() > MAX_PLAN => {
                    return Err(Early::fault(format!("the plan has more than {MAX_PLAN} bytes, the limit")));
                }
                Kind::Plan => bytes.extend_from_slice(&frame.payload),
                Kind::PlanEnd => return Plan::parse(&bytes).map_err(Early::fault),
                Kind::Finish => return Err(Early::Finish),
                kind => return Err(Early::fault(format!("unexpected {kind:?} frame; expected the plan"))),
            }
        }
    }

    /// # Errors
    /// Stdout is gone.
    fn evaluate(&mut self, plan: &Plan) -> io::Result<EndStatus> {
        let deadline = clock::after_ms(clock::now_us(), plan.global_timeout_ms);
        let mut held = Vec::new();
        for index in 0..plan.inputs.len() {
            match self.take_input(plan, index, deadline) {
                Ok(kept_back) => held.extend(kept_back),
                Err(Early::Finish) => return Ok(EndStatus::Done),
                Err(Early::Status(status)) => return Ok(status),
            }
        }
        Stages::new(plan, held, deadline, &mut self.channel, &mut self.inbox, &mut self.reaper).run()
    }

    /// Receives an input and unpacks it, or holds it for a later stage.
    fn take_input<'p>(&mut self, plan: &'p Plan, index: usize, deadline: u64) -> Result<Option<Held<'p>>, Early> {
        let Some(input) = plan.inputs.get(index) else { return Ok(None) };
        let number = u8::try_from(index).unwrap_or(u8::MAX);
        let rejected = |reason| Early::Status(EndStatus::Rejected { input: number, reason });
        let limit_ms = plan.global_timeout_ms;

        let archive = self.receive_archive(input, number, deadline, limit_ms)?;
        if let Some(stage) = input.before {
            return Ok(Some(Held::keep(number, stage, input, archive)));
        }
        let unpacked = unpack::unpack(archive, input, &mut self.inbox.interrupts(deadline));
        match unpacked {
            Unpacked::Whole => Ok(None),
            Unpacked::Rejected(reason) => Err(rejected(reason)),
            Unpacked::Fault(error) => Err(Early::fault(format!("input {number}: {error}"))),
            Unpacked::Full => {
                let path = mount_of(&plan.disks, &input.into);
                Err(Early::Status(EndStatus::DiskFull { input: number, path }))
            }
            Unpacked::Interrupted(Interrupt::Finish) => Err(Early::Finish),
            Unpacked::Interrupted(Interrupt::TimeUp) => {
                Err(rejected(format!("the archive was not unpacked within the plan's time limit of {limit_ms} ms")))
            }
            Unpacked::Interrupted(Interrupt::Broken) => match self.inbox.take() {
                Err(error) => Err(error.into()),
                Ok(_) => Err(Early::fault("the stream is invalid")),
            },
        }
    }

    /// Receives an archive into anonymous memory: no other process can open it, and it does not outlive the cell.
    fn receive_archive(&mut self, input: &Input, number: u8, deadline: u64, limit_ms: u64) -> Result<File, Early> {
        let unusable = |error: io::Error| Early::fault(format!("input {number}: no memory for its archive: {error}"));
        // An archive that does not fit into the cell is a fault of the archive, even if the scan accepted it: the limits of
        // the cell (longest file, memory) belong to the template.
        let unheld = |error: io::Error, length: u64| {
            let reason = format!("the archive has {length} bytes or more, which the cell cannot hold: {error}");
            Early::Status(EndStatus::Rejected { input: number, reason })
        };
        let mut archive =
            memfd_create(c"input", MFdFlags::MFD_CLOEXEC).map(File::from).map_err(|errno| unusable(errno.into()))?;
        let mut length: u64 = 0;
        loop {
            let Some(Frame { kind, payload }) = self.inbox.wait(Some(deadline))? else {
                return Err(Early::fault(format!("input {number} did not arrive within the plan's {limit_ms} ms")));
            };
            match (kind, payload.split_first()) {
                (Kind::Input, Some((at, bytes))) if *at == number => {
                    length += bytes.len() as u64;
                    if length > input.max_archive_bytes {
                        let limit = input.max_archive_bytes;
                        return Err(Early::Status(EndStatus::Rejected {
                            input: number,
                            reason: format!("the archive has {length} bytes or more, the limit is {limit}"),
                        }));
                    }
                    archive.write_all(bytes).map_err(|error| unheld(error, length))?;
                }
                (Kind::InputEnd, Some((at, []))) if *at == number => {
                    archive.rewind().map_err(unusable)?;
                    return Ok(archive);
                }
                (Kind::Finish, _) => return Err(Early::Finish),
                (kind, at) => {
                    let index = at.map_or_else(String::new, |(at, _)| format!(" of input {at}"));
                    return Err(Early::fault(format!("unexpected {kind:?} frame{index}; expected input {number}")));
                }
            }
        }
    }
}
