//! Values as people read them: counts, instants, and tables.

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::terminal::{self, Text};
use crate::{CommandError, Session};

/// Formats a count with its noun, in the singular or plural: "1 line", "2 lines".
pub(crate) fn counted(count: impl ToString, one: &str) -> String {
    let count = count.to_string();
    if count == "1" { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Formats rows under a heading. A column whose heading begins with `#` has numbers, and is aligned to the right.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Text {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading.map(|name| name.trim_start_matches('#')));
    // Cells are escaped before their width is measured.
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| terminal::escape(&cell))));
    for (column, name) in table.column_iter_mut().zip(heading) {
        column.set_padding((0, 2));
        if name.starts_with('#') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // The padding of the last column would only be trailing space.
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Prints rows as comma-separated values under a heading. A missing value is empty.
pub(crate) fn print_csv<const N: usize>(
    session: &mut Session<'_>,
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), CommandError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| CommandError::Print(error.into());
    writer.write_record(heading).map_err(failed)?;
    for row in rows {
        let row = row.map(|cell| if cell == NOTHING { String::new() } else { terminal::escape(&cell) });
        writer.write_record(row).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| CommandError::Print(error.into_error()))?;
    session.out.write_all(&bytes).map_err(CommandError::Print)
}

/// Formats an instant, to the second.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The sign for a missing value.
pub(crate) const NOTHING: &str = "-";

/// Formats a value, or [`NOTHING`] if it is missing.
pub(crate) fn or_nothing(text: Option<impl ToString>) -> String {
    text.map_or_else(|| NOTHING.to_owned(), |text| text.to_string())
}
