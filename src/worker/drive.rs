//! One attempt at one run, from claim to end.

use super::Worker;
use super::attempt::Attempt;
use super::cells::Cells;
use super::execute::execute;
use super::fetch::fetch;
use super::finish::finish;
use super::verdict::parse;
use crate::admission::Resumed;
use assize_store::queue::Claim;

/// Drives a claimed run to its end: fetch (if it is by the address of a repository), prepare, execute, parse,
/// finish.
///
/// A run that a dead worker began is `resumed`: its cells are found instead of made, their journal
/// is read from the beginning, and what was written is not written again; the rest is the same.
///
/// Whatever interrupts the pipeline (a failure, a cancel, a lost lease) leads to the same place:
/// the end is written once, under the lease, and every cell of the attempt is gone, unless the run
/// goes on elsewhere.
pub async fn drive(worker: &Worker, claim: Claim, resumed: Option<Resumed>) {
    let (mut attempt, interrupted) = Attempt::begin(worker, claim, resumed).await;
    let mut cells = Cells::none(worker, &attempt);

    let pipeline = async {
        fetch(&mut attempt, &mut cells).await?;
        let subject = cells.prepare(&attempt).await?;
        let report = execute(&mut attempt, &mut cells, subject).await?;
        parse(&mut attempt, report).await
    };
    let ended = tokio::select! {
        ended = pipeline => ended,
        stop = interrupted.wait() => Err(stop),
    };

    finish(attempt, cells, ended).await;
}
