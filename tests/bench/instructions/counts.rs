//! The instructions of each path, counted with Callgrind. The benchmark fails if a path takes over 5 % more instructions than
//! are written here. A count does not depend on the load of a machine, so it shows changes that a clock can't. It depends a
//! little on the compiler and the C library, hence the margin.

use domain::calendar::TimeZone;
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use idempotency::Commit;
use instructions::{Asked, asked, written};
use store::answer::Answer;
use store::stream::Write;

/// Instructions that were counted, in the build of the tests and in the optimised build.
const CANCEL: u64 = if cfg!(debug_assertions) { 3_914_853 } else { 592_306 };
const PUBLISH: u64 = if cfg!(debug_assertions) { 2_482_213 } else { 315_931 };
// In the build of the tests, nearly all of these copy one large value.
const ZONE: u64 = if cfg!(debug_assertions) { 11_806_863 } else { 32_954 };

/// Returns the configuration for a path for which so many instructions were counted, with a limit 5 % above.
fn counted(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions + instructions / 20)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

#[library_benchmark(config = counted(CANCEL))]
#[bench::ok(asked())]
fn cancel(asked: Asked) -> (String, Commit<Answer>) {
    instructions::cancel(asked)
}

#[library_benchmark(config = counted(PUBLISH))]
#[bench::updated(written())]
fn publish(write: Write) -> String {
    instructions::publish(write)
}

#[library_benchmark(config = counted(ZONE))]
#[bench::first()]
fn zone() -> TimeZone {
    instructions::zone()
}

library_benchmark_group!(name = paths, benchmarks = [cancel, publish, zone]);
main!(library_benchmark_groups = paths);
