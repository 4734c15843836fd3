//! Berths, apart from the rest of the protocol: which network namespace each cell of each run starts in.
//!
//! A worker takes a berth for a run, starts a subject in it and perhaps a driver, and renews the berth when the engine
//! has confirmed that the cells are gone. A worker may die between any two steps; another then goes on with its
//! runs, in berths that it cannot renew. A renewal may fail, and its answer may come late. Every schedule of
//! [`RUNS`] runs, [`WORKERS`] workers and [`FAULTS`] faults is visited; each rule is broken once.

use std::collections::HashSet;

/// Each begins once; how a run is tried again is the larger model's business.
const RUNS: usize = 2;
const WORKERS: usize = 2;
const BERTHS: usize = 2;
const FAULTS: u8 = 2;
/// Namespaces that are made in one schedule; two of each berth and one more show all that a rule can break.
const MAX_RENEWALS: u8 = 5;

/// What keeps runs apart. Each is broken once below.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// A berth is renewed before another run gets it.
    renews_after_each_run: bool,
    /// A renewal is asked for only while no cell is in the berth, and none of its run will come.
    renews_only_between_runs: bool,
    /// A berth is free only when its renewal was confirmed.
    waits_for_the_answer: bool,
    /// A berth whose renewal failed is destroyed.
    replaces_after_a_failure: bool,
    /// A berth that came with an adopted run is destroyed after it.
    discards_adopted_berths: bool,
}

impl Rules {
    const KEPT: Self = Self {
        renews_after_each_run: true,
        renews_only_between_runs: true,
        waits_for_the_answer: true,
        replaces_after_a_failure: true,
        discards_adopted_berths: true,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// Not made yet, or destroyed.
    Absent,
    /// In the pool of this worker.
    Free { worker: usize },
    /// For this run, driven by whoever has it.
    Taken { run: usize },
    /// Asked to renew itself; the worker waits for the answer.
    Renewing { worker: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Berth {
    place: Place,
    /// Its PID 1 is in this namespace; a number is never given twice.
    namespace: u8,
    /// It was asked to renew itself, and has not yet.
    asked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Run {
    /// Who drives it; `None` before it began and after its end.
    worker: Option<usize>,
    berth: Option<usize>,
    adopted: bool,
    /// The namespaces that its cells started in.
    subject: Option<u8>,
    driver: Option<u8>,
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    berths: [Berth; BERTHS],
    runs: [Run; RUNS],
    alive: [bool; WORKERS],
    namespaces: u8,
    faults: u8,
}

/// What a step does to the world.
type Change<'a> = &'a dyn Fn(&mut World);

/// What must hold in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// A cell started in a namespace that a cell of another run was in.
    Shared,
    /// Subject and driver of one run are in two namespaces, and cannot reach one another.
    Apart,
}

impl World {
    fn new() -> Self {
        let berth = Berth { place: Place::Absent, namespace: 0, asked: false };
        let run = Run { worker: None, berth: None, adopted: false, subject: None, driver: None, ended: false };
        Self { berths: [berth; BERTHS], runs: [run; RUNS], alive: [true; WORKERS], namespaces: 0, faults: FAULTS }
    }

    fn check(&self) -> Result<(), Broken> {
        for (number, run) in self.runs.iter().enumerate() {
            if run.driver.is_some() && run.driver != run.subject {
                return Err(Broken::Apart);
            }
            let others = self.runs.iter().skip(number + 1);
            let theirs: Vec<u8> = others.flat_map(|other| [other.subject, other.driver]).flatten().collect();
            if [run.subject, run.driver].into_iter().flatten().any(|own| theirs.contains(&own)) {
                return Err(Broken::Shared);
            }
        }
        Ok(())
    }

    fn renew(&mut self, berth: usize) {
        self.namespaces += 1;
        self.berths[berth].namespace = self.namespaces;
        self.berths[berth].asked = false;
    }

    /// Every state that may come next.
    fn successors(&self, rules: &Rules) -> Vec<Self> {
        let mut all = Vec::new();
        let mut then = |change: Change<'_>| {
            let mut after = *self;
            change(&mut after);
            all.push(after);
        };
        for worker in 0..WORKERS {
            if self.alive[worker] {
                self.steps_of(worker, rules, &mut then);
            } else {
                then(&|world| world.alive[worker] = true);
            }
        }
        for (at, berth) in self.berths.iter().enumerate() {
            // The berth itself: it does what it was asked, sooner or later.
            if berth.asked && berth.place != Place::Absent {
                then(&|world| world.renew(at));
            }
        }
        all
    }

    fn steps_of(&self, worker: usize, rules: &Rules, then: &mut dyn FnMut(Change<'_>)) {
        for (at, berth) in self.berths.iter().enumerate() {
            match berth.place {
                Place::Absent => then(&|world| {
                    world.berths[at].place = Place::Free { worker };
                    world.renew(at);
                }),
                Place::Free { worker: owner } if owner == worker => {
                    for run in 0..RUNS {
                        let next = &self.runs[run];
                        if next.worker.is_none() && !next.ended {
                            then(&|world| {
                                world.berths[at].place = Place::Taken { run };
                                let run = &mut world.runs[run];
                                (run.worker, run.berth) = (Some(worker), Some(at));
                            });
                        }
                    }
                }
                Place::Renewing { worker: owner } if owner == worker => {
                    if !berth.asked || !rules.waits_for_the_answer {
                        then(&|world| world.berths[at].place = Place::Free { worker });
                    }
                    if berth.asked && self.faults > 0 {
                        then(&|world| {
                            world.faults -= 1;
                            let place =
                                if rules.replaces_after_a_failure { Place::Absent } else { Place::Free { worker } };
                            world.berths[at] = Berth { place, asked: false, ..world.berths[at] };
                        });
                    }
                }
                // The janitor removes what a dead worker left in its pool.
                Place::Free { worker: owner } | Place::Renewing { worker: owner } if !self.alive[owner] => {
                    then(&|world| world.berths[at].place = Place::Absent);
                }
                _ => {}
            }
        }
        for (number, run) in self.runs.iter().enumerate() {
            let Some(berth) = run.berth else { continue };
            match run.worker {
                Some(holder) if holder == worker => {
                    if run.subject.is_none() {
                        then(&|world| world.runs[number].subject = Some(world.berths[berth].namespace));
                    } else if run.driver.is_none() {
                        then(&|world| world.runs[number].driver = Some(world.berths[berth].namespace));
                        if !rules.renews_only_between_runs {
                            then(&|world| world.berths[berth].asked = true);
                        }
                    }
                    then(&|world| world.end(number, berth, worker, rules));
                }
                // An adoption: the berth is another's, and there is no stream to it.
                Some(holder) if !self.alive[holder] => then(&|world| {
                    (world.runs[number].worker, world.runs[number].adopted) = (Some(worker), true);
                }),
                _ => {}
            }
        }
        if self.faults > 0 {
            then(&|world| {
                world.faults -= 1;
                world.alive[worker] = false;
            });
        }
    }

    /// The cells of a run are gone, as the engine confirmed.
    fn end(&mut self, number: usize, berth: usize, worker: usize, rules: &Rules) {
        let run = &mut self.runs[number];
        let adopted = run.adopted;
        (run.worker, run.berth, run.ended) = (None, None, true);
        self.berths[berth] = match (adopted, rules.renews_after_each_run) {
            (true, _) if rules.discards_adopted_berths => Berth { place: Place::Absent, ..self.berths[berth] },
            (false, true) => Berth { place: Place::Renewing { worker }, asked: true, ..self.berths[berth] },
            _ => Berth { place: Place::Free { worker }, ..self.berths[berth] },
        };
    }
}

/// Visits every state; how many there are, or the first that is broken.
fn exhaust(rules: &Rules) -> Result<usize, Box<(Broken, World)>> {
    let mut seen = HashSet::from([World::new()]);
    let mut frontier = vec![World::new()];
    while let Some(world) = frontier.pop() {
        for next in world.successors(rules) {
            next.check().map_err(|broken| Box::new((broken, next)))?;
            if next.namespaces <= MAX_RENEWALS && seen.insert(next) {
                frontier.push(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn no_run_meets_a_namespace_of_another_and_both_cells_of_a_run_share_one() {
    let states = exhaust(&Rules::KEPT).map_err(|found| format!("{found:?}")).unwrap();
    println!("{states} states");
    assert!(states > 10_000, "{states}");
}

#[test]
fn each_rule_of_berths_is_needed() {
    let kept = Rules::KEPT;
    for (rules, wanted) in [
        (Rules { renews_after_each_run: false, ..kept }, Broken::Shared),
        (Rules { renews_only_between_runs: false, ..kept }, Broken::Apart),
        (Rules { replaces_after_a_failure: false, ..kept }, Broken::Shared),
        (Rules { discards_adopted_berths: false, ..kept }, Broken::Shared),
    ] {
        let (broken, world) = *exhaust(&rules).expect_err("a rule that nothing needs");
        assert_eq!(broken, wanted, "{rules:?} {world:?}");
    }
    // Without the answer either may come first: the next run in the old namespace, or its two cells in two.
    let rules = Rules { waits_for_the_answer: false, ..kept };
    assert!(exhaust(&rules).is_err(), "a rule that nothing needs");
}
