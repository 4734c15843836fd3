//! Schedules and states in words, for a person who reads what the search found.

use assize_domain::run::Status;

use super::Action;
use crate::world::{Cell, DRIVER, Drive, DriveId, SUBJECT, Size, Step, World};

impl Action {
    /// What happens, for a person who reads a schedule.
    pub fn describe(self, world: &World) -> String {
        let name = |w: u8| format!("worker {}", char::from(b'A' + w));
        let step = |id: DriveId| {
            let text = world.drive(id).map_or_else(String::new, |drive| phrase(world, id.r, drive));
            format!("{}{} {text}", name(id.w), if id.k == 0 { "" } else { "'s earlier drive" })
        };
        match self {
            Self::Claim { w, r } => format!("{}'s claim of run {r} is committed", name(w)),
            Self::Count { w, r } => format!("{} reads the caps for run {r}", name(w)),
            Self::HearClaim { w } => format!("{} hears what it claimed", name(w)),
            Self::LoseClaim { w } => format!("the reply to {}'s claim is lost", name(w)),
            Self::Step { id } => step(id),
            Self::StepUnheard { id } => format!("{}; the reply is lost", step(id)),
            Self::Misfortune { id, code } => format!("{} fails run {}: {code}", name(id.w), id.r),
            Self::GiveUp { id } => format!("{} writes to run {} in vain for 25 s and gives up", name(id.w), id.r),
            Self::Panic { w, r } => format!("{} panics with run {r}", name(w)),
            Self::Heartbeat { w } => format!("{}'s heartbeat is committed and heard", name(w)),
            Self::Look { w, r } => format!("{}'s watchdog selects run {r}", name(w)),
            Self::Take { w } => format!("{}'s watchdog takes the lease, if it may", name(w)),
            Self::TakeUnheard { w } => {
                format!("{}'s watchdog takes the lease, if it may; the reply is lost", name(w))
            }
            Self::Ask { w, r } => format!("{}'s janitor asks which attempt of run {r} is active", name(w)),
            Self::Sweep { w, r, a } => format!("{} sweeps what there is of run {r}, attempt {a}", name(w)),
            Self::Drain { w } => format!("{} receives SIGTERM and drains", name(w)),
            Self::Leave { w } => format!("{} releases its leases and stops", name(w)),
            Self::LateRenewal { r } => format!("a renewal of run {r} was on its way and comes now"),
            Self::Probe { w } => format!("{} finds that the engine answers", name(w)),
            Self::Cell { r, a, role } => match world.cell(r, a, role) {
                Cell::Stage(stage) if role == DRIVER || stage >= crate::world::STAGES => {
                    format!("the {} of run {r}, attempt {a}, ends with results", called(role))
                }
                _ => format!("the {} of run {r}, attempt {a}, begins its next stage", called(role)),
            },
            Self::Break { r, a, role } => {
                format!("the {} of run {r}, attempt {a}, exits without results", called(role))
            }
            Self::Stale { r } => format!("run {r}'s lease is not renewed for 30 s"),
            Self::Due { r } => format!("run {r}'s backoff is over"),
            Self::Kill { w } => format!("{} is killed", name(w)),
            Self::Restart { w } => format!("{} starts again", name(w)),
            Self::EngineGoes => "the engine stops answering".to_owned(),
            Self::EngineComes => "the engine answers again".to_owned(),
            Self::Cancel { r } => format!("someone cancels run {r}"),
            Self::Skew { w } => format!("{}'s clock jumps back by a minute", name(w)),
        }
    }
}

const fn called(role: u8) -> &'static str {
    if role == DRIVER { "driver" } else { "subject" }
}

fn phrase(world: &World, r: u8, drive: Drive) -> String {
    let (a, cell) = (drive.attempt, called(drive.role));
    match drive.step {
        Step::Adopt => format!("lists the cells of run {r}, attempt {a}"),
        Step::Kill => format!("kills a {cell} of run {r}, attempt {a}, that had not begun"),
        Step::Tidy => format!("removes cells of run {r} before attempt {a}"),
        Step::Create => format!("creates the {cell} of run {r}, attempt {a}"),
        Step::Taken => format!("confirms its lease on run {r}, attempt {a}: the name is taken"),
        Step::Free => format!("removes what has the name of the {cell} of run {r}, attempt {a}"),
        Step::Confirm => format!("confirms its lease on run {r}, attempt {a}"),
        Step::Start => format!("starts the {cell} of run {r}, attempt {a}"),
        Step::Undo(_) => format!("removes the {cell} that it created for run {r}, attempt {a}"),
        Step::Feed => format!("sends plan and inputs to the {cell} of run {r}, attempt {a}"),
        Step::Listen if drive.heard < world.cell(r, a, drive.role).stages() => {
            format!("writes that run {r}, attempt {a}, is in stage {}", drive.heard + 1)
        }
        Step::Listen => format!("hears out the {cell} of run {r}, attempt {a}"),
        Step::Judge => format!("looks for the driver of run {r}, attempt {a}"),
        Step::Verdict => format!("writes the verdict of run {r}, attempt {a}"),
        Step::End(code) => format!("ends run {r}, attempt {a}: {}, {code}", code.status()),
        Step::Requeue(code) => format!("sends run {r} back to the queue after attempt {a}: {code}"),
        Step::Last | Step::Clear(_) => format!("destroys the cells of run {r}, attempt {a}"),
        Step::LetGo => format!("looks whether run {r}, attempt {a}, goes on without it"),
    }
}

/// One line for what a person wants to see of a state.
pub fn picture(world: &World, size: &Size) -> String {
    let mut text = String::new();
    for run in 0..size.runs {
        let row = &world.rows[run];
        let holder = row.worker.filter(|_| row.status.is_active()).map_or_else(String::new, |process| {
            let stale = if row.stale { " stale" } else { "" };
            let released = if row.released { " released" } else { "" };
            format!(" {}{}{stale}{released}", char::from(b'A' + process.slot), process.generation)
        });
        let cells: Vec<_> = (1..)
            .zip(world.cells[run])
            .flat_map(|(attempt, names): (u8, _)| [(attempt, SUBJECT, names[0]), (attempt, DRIVER, names[1])])
            .filter(|(.., name)| name.id() != 0)
            .map(|(attempt, role, name)| format!(" {} {attempt} {:?}", called(role), name.cell))
            .collect();
        let crashes = if row.crashes > 0 { format!(" crashes {}", row.crashes) } else { String::new() };
        let cancel = if row.cancel && row.status != Status::Aborted { " cancel" } else { "" };
        let status = row.status;
        text += &format!("[{run} {status} {}.{}{holder}{crashes}{cancel}{}] ", row.attempt, row.epoch, cells.concat());
    }
    text
}
