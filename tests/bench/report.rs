//! Numbers in tables of Markdown.

use std::time::Duration;

use comfy_table::presets;

/// A table.
pub struct Table(comfy_table::Table);

impl Table {
    pub fn new(columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(columns);
        Self(table)
    }

    pub fn row(&mut self, cells: &[String]) {
        self.0.add_row(cells);
    }

    pub fn print(&self) {
        println!("{}\n", self.0);
    }
}

/// Returns the value that this part of all values, between 0 and 1, does not exceed.
pub fn percentile<T: Copy + Ord>(values: &[T], part: f64) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let last = sorted.len() - 1;
    sorted[((sorted.len() as f64 * part) as usize).min(last)]
}

pub fn median<T: Copy + Ord>(values: &[T]) -> T {
    percentile(values, 0.5)
}

pub fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

pub fn ratio(ratio: f64) -> String {
    format!("{ratio:.3}")
}

pub fn dollars(amount: f64) -> String {
    format!("${amount:.3}")
}
