//! One attempt at one run, from its claim to its end.

use assize_store::queue::Claim;

use super::Worker;
use super::attempt::Attempt;
use super::cells::Cells;
use super::execute::execute;
use super::fetch::fetch;
use super::finish::finish;
use super::stop::Stop;
use super::verdict::parse;
use crate::admission::Resumed;

/// Drives a claimed run to its end: fetch (if the project is submitted by the address of a repository), prepare,
/// execute, parse, finish.
///
/// A run that a dead worker began is `resumed`: its cells are found instead of launched, their journals are read from
/// the beginning, and rows that were written are not written again. Everything else is the same.
///
/// Every interruption of the pipeline (a failure, a cancel, a lost lease) leads to `finish`: the end is written once,
/// under the lease, and every cell of the attempt is removed, unless another worker continues the run.
pub async fn drive(worker: &Worker, claim: Claim, resumed: Option<Resumed>) {
    let (mut attempt, hold) = Attempt::begin(worker, claim, resumed).await;
    let mut cells = Cells::none(worker, &attempt);

    let pipeline = async {
        fetch(&mut attempt, &mut cells).await?;
        let subject = cells.prepare(&attempt).await?;
        let report = execute(&mut attempt, &mut cells, subject).await?;
        parse(&mut attempt, report).await
    };
    let ended = tokio::select! {
        ended = pipeline => ended,
        interruption = hold.interrupted() => Err(Stop::from(interruption)),
    };

    finish(attempt, cells, ended).await;
}
