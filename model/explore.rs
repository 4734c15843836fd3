//! Every schedule of a small world, breadth first; random schedules of larger ones; and the fair
//! schedule without faults that must end well from wherever it starts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;
use std::hash::BuildHasherDefault;

use crate::actions::{Action, Choices, apply, choices, picture};
use crate::invariants::{Invariant, Violation, check_rest, check_state, must};
use crate::rules::Rules;
use crate::world::{Size, World, fingerprint};

/// Steps of a schedule at most; a longer one is taken to go round in circles.
const LONGEST: usize = 2_000;

/// A schedule that ends in a violation.
#[derive(Debug, Clone)]
pub struct Failure {
    pub size: Size,
    pub actions: Vec<Action>,
    pub violation: Violation,
}

/// What an exhaustive search saw.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub states: usize,
    pub moves: usize,
    /// Moves from the start to the farthest state.
    pub deepest: usize,
}

/// A state is its fingerprint: of 10^7 states, two share one with a chance of 3 in 10^6.
#[derive(Default)]
struct Identity(u64);

impl std::hash::Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where each state was first reached from.
type Parents = HashMap<u64, (u64, Action), BuildHasherDefault<Identity>>;

/// Visits every state that can be reached, and from every one the fair end.
pub fn exhaust(size: &Size, rules: &Rules, most: usize) -> Result<Seen, Box<Failure>> {
    let start = World::new(size);
    let root = start.fingerprint_of_both();
    let mut parents = Parents::default();
    parents.insert(root, (root, Action::EngineComes));
    let (mut frontier, mut next) = (vec![start], Vec::new());
    let mut seen = Seen { states: 1, moves: 0, deepest: 0 };
    let mut all = Choices::default();
    let mut spare = Choices::default();
    while !frontier.is_empty() {
        for world in frontier.drain(..) {
            let here = world.fingerprint_of_both();
            choices(&world, size, rules, &mut all);
            for action in all.all() {
                let mut after = world;
                seen.moves += 1;
                let moved = apply(&mut after, size, rules, action).and_then(|()| check_state(&after, size, rules));
                let there = after.fingerprint_of_both();
                if let Err(violation) = moved {
                    let mut actions = path(&parents, root, here);
                    actions.push(action);
                    return Err(Box::new(Failure { size: *size, actions, violation }));
                }
                let Entry::Vacant(vacant) = parents.entry(there) else { continue };
                vacant.insert((here, action));
                if let Err((violation, tail)) = ends_well(after, size, rules, &mut spare) {
                    let mut actions = path(&parents, root, there);
                    actions.extend(tail);
                    return Err(Box::new(Failure { size: *size, actions, violation }));
                }
                next.push(after);
            }
        }
        std::mem::swap(&mut frontier, &mut next);
        seen.states = parents.len();
        seen.deepest += usize::from(!frontier.is_empty());
        assert!(seen.states <= most, "more than {most} states of {size:?}: choose a smaller size");
    }
    Ok(seen)
}

fn path(parents: &Parents, root: u64, to: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut at = to;
    while at != root {
        let (before, action) = parents[&at];
        actions.push(action);
        at = before;
    }
    actions.reverse();
    actions
}

/// From here on nothing goes wrong any more and everyone gets a turn: all must end, and nothing be left.
fn ends_well(world: World, size: &Size, rules: &Rules, spare: &mut Choices) -> Result<(), (Violation, Vec<Action>)> {
    let mut at = world;
    for _ in 0..LONGEST {
        choices(&at, size, rules, spare);
        let Some(action) = spare.normal.first().copied() else {
            return check_rest(&at, size).map_err(|violation| (violation, retrace(world, size, rules)));
        };
        apply(&mut at, size, rules, action)
            .and_then(|()| check_state(&at, size, rules))
            .map_err(|violation| (violation, retrace(world, size, rules)))?;
    }
    let what = format!("after {LONGEST} moves without a fault: {}", picture(&at, size));
    Err((Violation { invariant: Invariant::EveryRunEnds, what }, Vec::new()))
}

/// The fair schedule from here, as far as it goes.
fn retrace(mut at: World, size: &Size, rules: &Rules) -> Vec<Action> {
    let mut all = Choices::default();
    let mut actions = Vec::new();
    for _ in 0..LONGEST {
        choices(&at, size, rules, &mut all);
        let Some(action) = all.normal.first().copied() else { break };
        actions.push(action);
        if apply(&mut at, size, rules, action).and_then(|()| check_state(&at, size, rules)).is_err() {
            break;
        }
    }
    actions
}

/// Random numbers whose sequence belongs to the seed for ever: SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `count` - 1; the bias of a remainder does not matter here.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.throw() >> 32).unwrap_or(0) % count.max(1)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())]) }
    }
}

/// One random schedule from the start to rest. `visit` sees the fingerprint of every state.
pub fn walk(
    seed: u64,
    rules: &Rules,
    all: &mut Choices,
    taken: &mut Vec<Action>,
    mut visit: impl FnMut(u64),
) -> Result<(), Box<Failure>> {
    let mut dice = Dice(seed);
    let size = random_size(&mut dice);
    // Some schedules see all their faults at once, others far apart.
    let one_in = 2 + dice.below(30);
    // A uniform choice never leaves anyone behind for long. So in most schedules some choices go by a
    // whim that lasts for a while: an order of all actions, of which the first possible one is taken.
    let sway = dice.below(5);
    let mut whim = dice.throw();
    let mut world = World::new(&size);
    taken.clear();
    let walked = (|| {
        for _ in 0..LONGEST {
            choices(&world, &size, rules, all);
            let fault = !all.faults.is_empty() && dice.below(one_in) == 0;
            if dice.below(12) == 0 {
                whim = dice.throw();
            }
            let chosen = if fault {
                dice.pick(&all.faults)
            } else if dice.below(4) < sway {
                all.normal.iter().copied().max_by_key(|action| fingerprint(&(action, whim)))
            } else {
                dice.pick(&all.normal)
            };
            let Some(action) = chosen else { return check_rest(&world, &size) };
            taken.push(action);
            apply(&mut world, &size, rules, action)?;
            check_state(&world, &size, rules)?;
            visit(world.fingerprint());
        }
        must(false, Invariant::EveryRunEnds, || format!("{LONGEST} moves: {}", picture(&world, &size)))
    })();
    walked.map_err(|violation| Box::new(Failure { size, actions: taken.clone(), violation }))
}

/// One to three runs of any weight and user, one to three workers, up to eight faults.
fn random_size(dice: &mut Dice) -> Size {
    let mut small = |count: u8| u8::try_from(dice.below(usize::from(count))).unwrap_or(0);
    let (runs, workers) = (1 + small(3), 1 + small(3));
    Size {
        runs: usize::from(runs),
        workers: usize::from(workers),
        faults: small(9),
        cancels: small(3),
        half_slots: 4,
        weights: std::array::from_fn(|_| [1, 2, 4][usize::from(small(3))]),
        users: std::array::from_fn(|_| small(2)),
        per_user: 1 + small(2),
        driver: small(2) == 1,
    }
}

/// Replays what of `actions` is possible, one by one: the actions that were, and how it broke.
fn replay(size: &Size, rules: &Rules, actions: &[Action]) -> (Vec<Action>, Option<Violation>) {
    let mut world = World::new(size);
    let mut all = Choices::default();
    let mut done = Vec::new();
    for action in actions {
        choices(&world, size, rules, &mut all);
        if !all.all().any(|possible| possible == *action) {
            continue;
        }
        done.push(*action);
        let moved = apply(&mut world, size, rules, *action).and_then(|()| check_state(&world, size, rules));
        if let Err(violation) = moved {
            return (done, Some(violation));
        }
    }
    choices(&world, size, rules, &mut all);
    let rested = if all.normal.is_empty() { check_rest(&world, size).err() } else { None };
    (done, rested)
}

/// Drops actions while the same invariant still breaks.
pub fn shorten(failure: &Failure, rules: &Rules) -> Failure {
    let mut best = failure.clone();
    let mut piece = best.actions.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < best.actions.len() {
            let mut fewer = best.actions.clone();
            fewer.drain(at..(at + piece).min(best.actions.len()));
            match replay(&best.size, rules, &fewer) {
                (done, Some(violation))
                    if violation.invariant == best.violation.invariant && done.len() < best.actions.len() =>
                {
                    best.actions = done;
                    best.violation = violation;
                }
                _ => at += piece,
            }
        }
        piece /= 2;
    }
    best
}

/// The schedule as a person reads it: what happens, and what the world is like after it.
pub fn describe(failure: &Failure, rules: &Rules) -> String {
    let Failure { size, actions, violation } = failure;
    let mut text = format!("{violation}\n{size:?}\n");
    let mut world = World::new(size);
    for (number, action) in (1..).zip(actions) {
        let step = action.describe(&world);
        let moved = apply(&mut world, size, rules, *action);
        // Writing to a string cannot fail.
        writeln!(text, "{number:4}. {step:<72} {}", picture(&world, size)).ok();
        if moved.is_err() {
            break;
        }
    }
    text
}
