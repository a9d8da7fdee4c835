//! The tables of the measurements, and a diagram.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::{All, Case, Measured, Transport};
use crate::bill::prices::GB_SECOND;
use crate::contestants::{Contestant, Operation};
use crate::report::{
    Section, Table, diagram, dollars, mean, mebibytes, median, milliseconds, percentile, ratio,
    whole_milliseconds,
};
use crate::share::Share;

/// Returns the tables that compare the contestants, and the sizes of memory. Draws the latter, if `plot` names a file.
pub(super) fn sections(contestants: &[Contestant], all: &All, plot: Option<&Path>) -> Vec<Section> {
    let warm = |transport| Case { operation: Operation::Cancel, transport, share: Share::Whole };
    let whole = [Transport::Http, Transport::Tls].map(warm);
    let cancel =
        whole.iter().filter_map(|case| Some(of_case(*case, contestants, all.get(case)?).to_string()));
    let cancel = cancel.collect::<Vec<_>>().join("\n\n");
    if !contestants.iter().any(|contestant| contestant.name == "ours") {
        let each = all.iter().map(|(case, measured)| of_case(*case, contestants, measured).to_string());
        return vec![Section::new("opt-levels", each.collect::<Vec<_>>().join("\n\n"))];
    }
    let mut sections = vec![
        Section::new("processor", cancel),
        Section::new("shares", shares(contestants, all)),
        Section::new("goals", goals(contestants, all)),
    ];
    if let Some(memory) = memory(all) {
        sections.push(Section::new("memory", memory));
        if let Some(file) = plot {
            draw(all, file);
        }
    }
    sections
}

/// Returns the table of a case, with the ratios of ours to the others.
pub(super) fn of_case(case: Case, contestants: &[Contestant], measured: &[Measured]) -> Table {
    let Case { operation, transport, share } = case;
    let title = format!("{operation}, {transport}, {share}");
    let mut table =
        Table::new(&[&title, "ready", "first answer", "p50", "p99", "mean", "CPU", "peak memory", "size"]);
    for (contestant, measured) in contestants.iter().zip(measured) {
        table.row(&[
            contestant.name.to_owned(),
            milliseconds(median(&measured.ready)),
            milliseconds(median(&measured.first_answer)),
            milliseconds(percentile(&measured.warm, 0.5)),
            milliseconds(percentile(&measured.warm, 0.99)),
            milliseconds(mean(&measured.warm)),
            milliseconds(mean(&measured.processor)),
            mebibytes(median(&measured.peak_memory)),
            mebibytes(size(&contestant.bootstrap(operation))),
        ]);
    }
    let [ours, others @ ..] = measured else { return table };
    for (contestant, other) in contestants.iter().skip(1).zip(others) {
        let of = |measure: fn(&Measured) -> f64| ratio(measure(ours) / measure(other));
        table.row(&[
            format!("{} / {}", contestants[0].name, contestant.name),
            of(|measured| median(&measured.ready).as_secs_f64()),
            of(|measured| median(&measured.first_answer).as_secs_f64()),
            of(|measured| percentile(&measured.warm, 0.5).as_secs_f64()),
            of(|measured| percentile(&measured.warm, 0.99).as_secs_f64()),
            of(|measured| mean(&measured.warm).as_secs_f64()),
            of(|measured| mean(&measured.processor).as_secs_f64()),
            of(|measured| median(&measured.peak_memory) as f64),
            String::new(),
        ]);
    }
    table
}

/// Measurements of ours divided by those of the floor.
struct Ratios {
    p50: f64,
    p99: f64,
    processor: f64,
    first_answer: f64,
}

impl Ratios {
    /// Returns `None` if one of the two is not measured.
    fn of(contestants: &[Contestant], measured: &[Measured]) -> Option<Self> {
        let of = |name| Some(&measured[contestants.iter().position(|contestant| contestant.name == name)?]);
        let (ours, floor) = (of("ours")?, of("floor")?);
        let part =
            |measure: fn(&Measured) -> Duration| measure(ours).as_secs_f64() / measure(floor).as_secs_f64();
        Some(Self {
            p50: part(|measured| percentile(&measured.warm, 0.5)),
            p99: part(|measured| percentile(&measured.warm, 0.99)),
            processor: part(|measured| mean(&measured.processor)),
            first_answer: part(|measured| median(&measured.first_answer)),
        })
    }
}

/// Compares the contestants in each case.
fn shares(contestants: &[Contestant], all: &All) -> Table {
    let mut columns = ["operation", "way", "memory"].map(str::to_owned).to_vec();
    columns.extend(contestants.iter().map(|contestant| format!("{}, p50", contestant.name)));
    columns.extend(["p50", "p99", "CPU", "first answer"].map(|what| format!("ours / floor: {what}")));
    let mut table = Table::new(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    for (Case { operation, transport, share }, measured) in all {
        let mut row = vec![operation.to_string(), transport.to_string(), share.to_string()];
        row.extend(measured.iter().map(|measured| milliseconds(percentile(&measured.warm, 0.5))));
        if let Some(Ratios { p50, p99, processor, first_answer }) = Ratios::of(contestants, measured) {
            row.extend([p50, p99, processor, first_answer].map(ratio));
        }
        table.row(&row);
    }
    table
}

/// Compares ours with the floor, by the goals for a cancellation.
fn goals(contestants: &[Contestant], all: &All) -> Table {
    type Part = fn(&Ratios) -> f64;
    let mut table = Table::new(&["cancel, ours / floor", "goal", "TLS", "HTTP"]);
    let p50: Part = |ratios| ratios.p50;
    let goals: [(String, f64, Option<Share>, Part); 5] = [
        (format!("p50, {}", Share::Whole), 1.10, Some(Share::Whole), p50),
        (format!("p50, {}", Share::Memory(512)), 1.15, Some(Share::Memory(512)), p50),
        (format!("p50, {}", Share::Memory(256)), 1.30, Some(Share::Memory(256)), p50),
        ("CPU, each share".to_owned(), 1.20, None, |ratios| ratios.processor),
        ("first answer, each share".to_owned(), 1.15, None, |ratios| ratios.first_answer),
    ];
    for (name, goal, only, part) in goals {
        let reached = [Transport::Tls, Transport::Http].map(|way| {
            let is_it = |case: &Case| {
                let Case { operation, transport, share } = *case;
                operation == Operation::Cancel && transport == way && only.is_none_or(|only| share == only)
            };
            let of_cases = all.iter().filter(|(case, _)| is_it(case));
            let mut parts: Vec<_> = of_cases
                .filter_map(|(_, measured)| Ratios::of(contestants, measured).map(|ratios| part(&ratios)))
                .collect();
            parts.sort_by(f64::total_cmp);
            match parts[..] {
                [] => String::new(),
                [one] => format!("{one:.2}"),
                [least, .., most] => format!("{least:.2} to {most:.2}"),
            }
        });
        let [tls, http] = reached;
        table.row(&[name, format!("{goal:.2}"), tls, http]);
    }
    table
}

/// An operation of ours with one size of memory, over TLS.
struct Size {
    memory: u32,
    p50: Duration,
    p99: Duration,
    /// Price of the billed time of a million, in dollars.
    price: f64,
}

fn sizes(all: &All, wanted: Operation) -> Vec<Size> {
    let of = |(case, measured): (&Case, &Vec<Measured>)| {
        let Case { operation, transport: Transport::Tls, share: Share::Memory(memory) } = *case else {
            return None;
        };
        let warm = (operation == wanted).then(|| &measured[0].warm)?;
        let billed: Vec<_> = match operation {
            // An execution is a part of a sweep.
            Operation::Execute => warm.clone(),
            _ => warm.iter().map(|took| whole_milliseconds(*took)).collect(),
        };
        let price = mean(&billed).as_secs_f64() * 1_000_000.0 * f64::from(memory) / 1_024.0 * GB_SECOND;
        Some(Size { memory, p50: percentile(warm, 0.5), p99: percentile(warm, 0.99), price })
    };
    all.iter().filter_map(of).collect()
}

/// Compares the sizes of memory. The least p99 and the least price of an operation are bold.
fn memory(all: &All) -> Option<Table> {
    let operations = [Operation::Get, Operation::Cancel, Operation::Execute].map(|of| sizes(all, of));
    let memories: BTreeSet<u32> = operations.iter().flatten().map(|size| size.memory).collect();
    let mut columns = vec!["memory".to_owned()];
    for operation in ["GET", "cancel", "execution"] {
        columns.extend(["p50", "p99", "a million"].map(|what| format!("{operation}: {what}")));
    }
    let mut table = Table::new(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    for memory in &memories {
        let mut row = vec![format!("{memory} MB")];
        for sizes in &operations {
            let Some(size) = sizes.iter().find(|size| size.memory == *memory) else {
                row.extend(["", "", ""].map(str::to_owned));
                continue;
            };
            let bold = |text: String, is_least: bool| if is_least { format!("**{text}**") } else { text };
            let is_fastest = sizes.iter().all(|other| size.p99 <= other.p99);
            let is_cheapest = sizes.iter().all(|other| size.price <= other.price);
            row.push(milliseconds(size.p50));
            row.push(bold(milliseconds(size.p99), is_fastest));
            row.push(bold(dollars(size.price), is_cheapest));
        }
        table.row(&row);
    }
    (!memories.is_empty()).then_some(table)
}

/// Draws time and price of a cancellation against memory.
fn draw(all: &All, file: &Path) {
    let sizes = sizes(all, Operation::Cancel);
    let line = |of: fn(&Size) -> f64| sizes.iter().map(|size| (f64::from(size.memory), of(size))).collect();
    diagram(
        file,
        "memory, MB",
        "cancel: time, ms; price of a billion, $",
        &[
            ("p50", line(|size| size.p50.as_secs_f64() * 1_000.0)),
            ("p99", line(|size| size.p99.as_secs_f64() * 1_000.0)),
            ("price", line(|size| size.price * 1_000.0)),
        ],
    );
}

/// Returns the size of the deployed zip file, which is beside the bootstrap.
fn size(bootstrap: &Path) -> u64 {
    bootstrap.with_extension("zip").metadata().map_or(0, |file| file.len())
}
