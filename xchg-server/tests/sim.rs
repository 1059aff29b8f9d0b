//! Thousands of simulated servers, each from a seed.
//!
//! `XCHG_SIM_SEEDS=A..B cargo test --release -p xchg-server --test sim` runs a range of them;
//! `XCHG_SIM_SEED=N XCHG_SIM_TRACE=1` runs one and tells all that happened in it if it is wrong.

use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What a test run takes: some seconds on two cores.
const SEEDS: Range<u64> = 0..2_000;

fn seeds() -> Range<u64> {
    let variable = |name: &str| std::env::var(name).ok();
    let number = |text: &str| text.parse().expect("seeds are numbers");
    if let Some(seed) = variable("XCHG_SIM_SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match variable("XCHG_SIM_SEEDS") {
        Some(range) => {
            let (from, to) = range.split_once("..").expect("a range is A..B");
            number(from)..number(to)
        }
        None => SEEDS,
    }
}

#[test]
fn no_world_breaks_a_promise() {
    // Panics that a world wants are caught by the worker, and need not be shown.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_wanted = panic.payload_as_str().is_some_and(|text| text.contains("the world wants"));
        if !is_wanted {
            hook(panic);
        }
    }));
    let trace = std::env::var_os("XCHG_SIM_TRACE").is_some();
    let seeds = seeds();
    let (next, is_wrong) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let run = || -> Result<(), String> {
        while !is_wrong.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            let world = catch_unwind(|| xchg_server::sim::run(seed, trace));
            let world = world.unwrap_or_else(|_| Err(format!("seed {seed}: its world panics")));
            world.inspect_err(|_| is_wrong.store(true, Relaxed))?;
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let ends = running.into_iter().map(|thread| thread.join().expect("a world ends"));
        ends.filter_map(Result::err).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
