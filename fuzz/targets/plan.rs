//! What a warden is asked to do: a plan that is read and written again is the same plan.

#![no_main]

use assize_protocol::plan::{MAX_INPUTS, MAX_STAGES, Plan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(plan) = Plan::parse(bytes) else { return };
    assert!(plan.stages.len() <= MAX_STAGES && plan.inputs.len() <= MAX_INPUTS);
    assert!(plan.stages.iter().all(|stage| stage.command.first().is_some_and(|program| !program.is_empty())));
    // Nothing is kept back from a stage while a service that it was to be kept from lives.
    assert!(plan.inputs.iter().filter_map(|input| input.before).all(|before| {
        let before = usize::from(before);
        before < plan.stages.len() && plan.stages[..before].iter().all(|stage| stage.ready.is_none())
    }));
    let again = serde_json::to_vec(&plan).expect("a plan can be written");
    // Written in full it may be longer than what was read, so it is not parsed with its limit.
    assert_eq!(serde_json::from_slice::<Plan>(&again).expect("what was written can be read"), plan);
});
