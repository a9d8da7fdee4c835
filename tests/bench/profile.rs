//! Instructions of a cancellation, as Callgrind counts them: what the SDK spends, by part, and what our function spends beyond the
//! floor, by crate.
//!
//! Two runs of different lengths are counted. Their difference is that of warm cancellations alone. Valgrind's processor has no
//! instructions for SHA-256, so hashing weighs more here than on Lambda.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};

use crate::contestants::{Contestant, Operation};
use crate::engine::Engine;
use crate::function::Function;
use crate::report::{Section, Table};
use crate::share::Share;
use crate::subscriptions as given;

/// Numbers of cancellations of the two runs.
const RUNS: [u64; 2] = [20, 220];

/// Part of the SDK, its function, and what would lower it.
struct Part {
    name: &'static str,
    function: &'static str,
    /// Name of the part that this one lies in.
    within: Option<&'static str>,
    lower: &'static str,
}

const OPERATION: &str = "operation";
const SIGNING: &str = "signature";

const PARTS: [Part; 11] = [
    Part {
        name: OPERATION,
        function: "aws_smithy_runtime::client::orchestrator::invoke_with_stop_point::{{closure}}::{{closure}}::{{closure}}",
        within: None,
        lower: "",
    },
    Part {
        name: SIGNING,
        function: "aws_smithy_runtime::client::orchestrator::auth::sign_request",
        within: Some(OPERATION),
        lower: "Nothing here. Reported upstream: [aws-sdk-rust#1400](https://github.com/awslabs/aws-sdk-rust/issues/1400)",
    },
    Part {
        name: "its key, which is the same all day",
        function: "aws_sigv4::sign::v4::generate_signing_key",
        within: Some(SIGNING),
        lower: "Upstream: the SDKs for [Go](https://pkg.go.dev/github.com/aws/aws-sdk-go-v2/aws/signer/v4) and \
                [Kotlin](https://github.com/smithy-lang/smithy-kotlin/pull/1652) keep it",
    },
    Part {
        name: "its hash of the request",
        function: "aws_sigv4::http_request::canonical_request::CanonicalRequest::from",
        within: Some(SIGNING),
        lower: "Fewer bytes: answers and documents are compressed",
    },
    Part {
        name: "reading answers",
        function: "DeserializeResponse>::deserialize_nonstreaming",
        within: Some(OPERATION),
        lower: "Fewer attributes: most of a document is one of them",
    },
    Part {
        name: "writing requests",
        function: "SerializeRequest>::serialize_input",
        within: Some(OPERATION),
        lower: "The same",
    },
    Part {
        name: "user agent",
        function: "<aws_runtime::user_agent::interceptor::UserAgentInterceptor as",
        within: Some(OPERATION),
        lower: "Nothing: a header that AWS counts features with",
    },
    Part {
        name: "address of the service",
        function: "as aws_smithy_runtime_api::client::endpoint::ResolveEndpoint>::resolve_endpoint",
        within: Some(OPERATION),
        lower: "A resolver of our own. Not used: it would have to know AWS's partitions",
    },
    Part {
        name: "sending, without the connection",
        function: "<aws_smithy_runtime_api::client::http::HttpConnectorFuture as",
        within: Some(OPERATION),
        lower: "",
    },
    Part {
        name: "stalled-stream protection",
        function: "<aws_smithy_runtime::client::stalled_stream_protection::StalledStreamProtectionInterceptor as",
        within: Some(OPERATION),
        lower: "`stalled_stream_protection`: off, as each attempt has a time-out",
    },
    Part { name: "the connection", function: "tokio::runtime::task::raw::poll", within: None, lower: "" },
];

/// Instructions of one operation, by the name of the function.
type Instructions = BTreeMap<String, f64>;

/// Counts the instructions of the floor and of our function.
pub async fn measure(contestants: &[Contestant], now: DateTime<Utc>) -> Vec<Section> {
    let of = |name| contestants.iter().find(|contestant| contestant.name == name);
    let (Some(ours), Some(floor)) = (of("ours"), of("floor")) else {
        panic!("ours or the floor is not built")
    };
    let engine = Engine::start().await;
    let (ours, floor) = (Profile::of(ours, &engine, now).await, Profile::of(floor, &engine, now).await);
    vec![Section::new("sdk", sdk(&floor)), Section::new("profile", by_crate(&ours, &floor))]
}

/// The instructions of a cancellation.
struct Profile {
    /// Without those of the functions that a function calls.
    own: Instructions,
    /// With those.
    inclusive: Instructions,
}

impl Profile {
    async fn of(contestant: &Contestant, engine: &Engine, now: DateTime<Utc>) -> Self {
        let [short, long] = RUNS;
        let (few, many) =
            (Self::run(contestant, engine, short, now).await, Self::run(contestant, engine, long, now).await);
        let each = |many: Instructions, few: &Instructions| {
            let difference = |(name, count): (String, f64)| {
                let before = few.get(&name).copied().unwrap_or_default();
                (name, (count - before) / (long - short) as f64)
            };
            many.into_iter().map(difference).collect()
        };
        Self { own: each(many.own, &few.own), inclusive: each(many.inclusive, &few.inclusive) }
    }

    /// Counts a process from its start to its end.
    async fn run(contestant: &Contestant, engine: &Engine, operations: u64, now: DateTime<Utc>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (bootstrap, counts) = (folder.path().join("bootstrap"), folder.path().join("counts"));
        let program = contestant.bootstrap(Operation::Cancel);
        let script = format!(
            "#!/bin/sh\nexec valgrind --quiet --tool=callgrind --callgrind-out-file={} {}\n",
            counts.display(),
            program.display()
        );
        fs::write(&bootstrap, script).unwrap();
        fs::set_permissions(&bootstrap, fs::Permissions::from_mode(0o755)).unwrap();

        let tables = contestant.prepare(engine, operations, now).await;
        let url = engine.url();
        let variables = tables.variables(&url, engine.certificate());
        let event = |number| given::cancel(&tables.token, operations, number);
        let (mut function, answer) =
            Function::start(&bootstrap, &variables, Share::Whole, Stdio::null(), &event(0)).await;
        assert_eq!(answer["statusCode"], 200, "{answer}");
        for number in 1..operations {
            let answer = function.invoke(&event(number)).await.value;
            assert_eq!(answer["statusCode"], 200, "{answer}");
        }
        function.end().await;
        Self { own: annotated(&counts, "no"), inclusive: annotated(&counts, "yes") }
    }

    /// Returns the instructions of all functions whose names contain the text.
    fn inclusive(&self, text: &str) -> f64 {
        // A function that calls itself stands there twice: the second time as `name'2`.
        let is_it = |name: &str| name.contains(text) && !name.contains("'2");
        self.inclusive.iter().filter(|(name, _)| is_it(name)).map(|(_, count)| count).sum()
    }
}

/// Returns the counts of a run, by function.
fn annotated(counts: &Path, inclusive: &str) -> Instructions {
    let printed = Command::new("callgrind_annotate")
        .args(["--threshold=100", "--auto=no", &format!("--inclusive={inclusive}")])
        .arg(counts)
        .output()
        .unwrap();
    let mut all = Instructions::new();
    // `1,234 ( 5.67%)  file:function [program]`
    for line in String::from_utf8(printed.stdout).unwrap().lines() {
        let Some((count, rest)) = line.trim_start().split_once(" (") else { continue };
        let (Ok(count), Some((_, place))) = (count.replace(',', "").parse::<f64>(), rest.split_once("%)  "))
        else {
            continue;
        };
        // The first colon that is not one of two. The line with the total has none.
        let name = place.rsplit_once(" [").map_or(place, |(name, _)| name).replace("::", "\u{0}");
        let Some((_, function)) = name.split_once(':') else { continue };
        *all.entry(function.replace('\u{0}', "::")).or_default() += count;
    }
    assert!(all.len() > 100, "callgrind_annotate has printed nothing");
    all
}

fn sdk(floor: &Profile) -> Table {
    let mut table =
        Table::new(&["of a cancellation's two requests", "instructions", "part", "how to lower it"]);
    let total: f64 = floor.own.values().sum();
    let of = |part: &Part| {
        let found = floor.inclusive(part.function);
        assert!(found > 0.0, "no function of {}", part.name);
        found
    };
    let mut row = |name: String, count: f64, lower: &str| {
        table.row(&[name, thousands(count), format!("{:.0} %", count / total * 100.0), lower.to_owned()]);
    };
    for part in &PARTS {
        let name =
            if part.within == Some(SIGNING) { format!("– {}", part.name) } else { part.name.to_owned() };
        if part.name == OPERATION {
            continue;
        }
        row(name, of(part), part.lower);
    }
    let within = |outer| PARTS.iter().filter(move |part| part.within == Some(outer)).map(of).sum::<f64>();
    let operation: f64 = PARTS.iter().filter(|part| part.name == OPERATION).map(of).sum();
    row(
        "the rest of the SDK: settings, interceptors, retries, time-outs".to_owned(),
        operation - within(OPERATION),
        "Upstream: [smithy-rs#4127](https://github.com/smithy-lang/smithy-rs/issues/4127), settings that are put together once",
    );
    let outside: f64 = PARTS.iter().filter(|part| part.within.is_none()).map(of).sum();
    row("the Lambda runtime, and the floor itself".to_owned(), total - outside, "");
    table
}

/// Compares our function with the floor, by the crate that the instructions are in.
fn by_crate(ours: &Profile, floor: &Profile) -> Table {
    let grouped = |profile: &Profile| {
        let mut groups = BTreeMap::<String, f64>::new();
        for (name, count) in &profile.own {
            *groups.entry(group(name).to_owned()).or_default() += count;
        }
        groups
    };
    let (ours, floor) = (grouped(ours), grouped(floor));
    let total = |groups: &BTreeMap<String, f64>| groups.values().sum::<f64>();
    let mut rows: Vec<_> = ours
        .iter()
        .map(|(group, count)| (group.as_str(), *count, floor.get(group).copied().unwrap_or_default()))
        .collect();
    rows.sort_by(|one, other| (other.1 - other.2).total_cmp(&(one.1 - one.2)));
    let mut table = Table::new(&["instructions of a cancellation", "ours", "floor", "ours − floor"]);
    let mut row = |name: &str, ours: f64, floor: f64| {
        table.row(&[name.to_owned(), thousands(ours), thousands(floor), thousands(ours - floor)]);
    };
    for (name, ours, floor) in rows.iter().take(14) {
        row(name, *ours, *floor);
    }
    row("all", total(&ours), total(&floor));
    table
}

/// Returns the group of a function: its crate, or what the standard or the C library does.
fn group(function: &str) -> &str {
    if function.contains("malloc") || function.contains("__rust_") || ["free", "realloc"].contains(&function)
    {
        return "allocating";
    }
    if ["memcpy", "memmove", "memset", "memcmp"].iter().any(|text| function.contains(text)) {
        return "copying, comparing and clearing";
    }
    let mut crates = function
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':')
        .filter_map(|path| path.split_once("::"))
        .map(|(first, _)| first)
        .peekable();
    if crates.peek().is_none() {
        return "the C library";
    }
    // The standard library works for the crate whose types it handles.
    match crates.find(|first| !["", "alloc", "core", "std", "hashbrown"].contains(first)) {
        Some(first) if first.starts_with("aws_") => "the SDK",
        Some(first) => first,
        None => "the standard library",
    }
}

fn thousands(count: f64) -> String {
    match (count / 1_000.0).round() as u64 {
        0 => "0".to_owned(),
        count if count < 1_000 => format!("{count},000"),
        count => format!("{},{:03},000", count / 1_000, count % 1_000),
    }
}
