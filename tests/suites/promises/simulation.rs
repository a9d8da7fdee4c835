//! A simulation: the real functions and a real database, with random callers, faults, deaths and clocks, in an order that a
//! seed decides. The rules are checked after every write and every answer.
//!
//! ```sh
//! cargo test --workspace --test promises simulation                           # as many seeds as fit into 10 seconds
//! SIMULATION_SECONDS=600 cargo test --workspace --test promises simulation    # as many as fit into 10 minutes
//! SIMULATION_SEED=7 cargo test --workspace --test promises simulation         # one seed, step by step
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures, and the command to repeat")]

mod ledger;
mod network;
mod outbox;
mod world;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::world::Figures;
use crate::MACHINE;

/// Runs a seed. If it fails, prints the command that repeats it.
fn simulate(seed: u64) -> (Figures, Vec<String>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut trace = Vec::new();
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(world::run(seed, &mut trace)))) {
        Ok(figures) => (figures, trace),
        Err(panic) => {
            let last = trace.len().saturating_sub(60);
            eprintln!(
                "{}\nrepeat it with: SIMULATION_SEED={seed} cargo test --workspace --test promises simulation",
                trace[last..].join("\n")
            );
            resume_unwind(panic)
        }
    }
}

#[test]
fn every_promise_holds_in_random_histories() {
    let _alone = MACHINE.blocking_lock();
    if let Ok(seed) = env::var("SIMULATION_SEED") {
        let (figures, trace) = simulate(seed.parse().unwrap());
        println!("{}\n{figures:?}", trace.join("\n"));
        return;
    }
    let seconds = env::var("SIMULATION_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut total = Figures::default();
        while Instant::now() < until && !failed.load(Ordering::SeqCst) {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            match catch_unwind(|| simulate(seed)) {
                Ok((figures, _)) => total += figures,
                Err(panic) => {
                    failed.store(true, Ordering::SeqCst);
                    resume_unwind(panic)
                }
            }
        }
        total
    };
    let total = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..thread::available_parallelism().unwrap().get()).map(|_| scope.spawn(work)).collect();
        workers.into_iter().fold(Figures::default(), |mut total, worker| {
            total += worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            total
        })
    });
    println!("{} seeds: {total:?}", next.into_inner());
}

#[test]
fn a_seed_repeats_the_same_steps() {
    let _alone = MACHINE.blocking_lock();
    let (figures, trace) = simulate(1);
    assert_eq!(simulate(1), (figures, trace.clone()));
    assert_ne!(simulate(2).1, trace);
}
