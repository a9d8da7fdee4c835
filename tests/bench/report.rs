//! Numbers in tables of Markdown.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use comfy_table::presets;
use plotters::prelude::*;

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
        println!("{self}\n");
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A part of a document that a measurement writes.
pub struct Section {
    name: &'static str,
    text: String,
}

impl Section {
    pub fn new(name: &'static str, text: impl fmt::Display) -> Self {
        Self { name, text: text.to_string() }
    }

    pub fn print(&self) {
        println!("{}\n", self.text);
    }

    /// Writes the section into a document, between the comments that name it. `measured` says when, where and with what.
    pub fn write_into(&self, document: &Path, measured: &str) {
        let text = fs::read_to_string(document).unwrap();
        let (begin, end) = (format!("<!-- figures: {} -->\n", self.name), "<!-- end of figures -->");
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("no {end}"));
        let text = format!("{before}{begin}\n{measured}\n\n{}\n\n{end}{after}", self.text);
        fs::write(document, text).unwrap();
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

pub fn mean(durations: &[Duration]) -> Duration {
    durations.iter().sum::<Duration>() / u32::try_from(durations.len()).unwrap()
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

/// Rounds a duration up to whole milliseconds, as Lambda bills it.
pub fn whole_milliseconds(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_micros().div_ceil(1_000).try_into().unwrap())
}

/// Draws lines through points, by a logarithmic scale on the horizontal axis.
pub fn diagram(file: &Path, horizontal: &str, vertical: &str, series: &[(&'static str, Vec<(f64, f64)>)]) {
    const COLOURS: [RGBColor; 3] = [RGBColor(192, 57, 43), RGBColor(41, 98, 168), RGBColor(39, 134, 84)];
    let points = || series.iter().flat_map(|(_, points)| points);
    let highest = points().map(|(_, y)| *y).fold(0.0, f64::max);
    let (least, most) =
        points().fold((f64::MAX, f64::MIN), |(least, most), (x, _)| (least.min(*x), most.max(*x)));
    let root = SVGBackend::new(file, (760, 360)).into_drawing_area();
    root.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d((least..most).log_scale(), 0.0..highest * 1.3)
        .unwrap();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(horizontal)
        .y_desc(vertical)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()
        .unwrap();
    for ((name, points), colour) in series.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
            .unwrap()
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|place| Circle::new(*place, 3, colour.filled()))).unwrap();
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(TRANSPARENT)
        .draw()
        .unwrap();
    root.present().unwrap();
}
