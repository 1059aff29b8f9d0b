//! Rows of numbers for people and for programs.

use serde_json::{Map, Value, json};

use super::statistics::{median, spread};

/// A number that a workload reports.
#[derive(Debug)]
pub(crate) struct Column {
    /// Name in JSON, unit included.
    key: &'static str,
    heading: &'static str,
    decimals: usize,
    /// Whether rounds add up; else their median stands for them.
    adds_up: bool,
}

impl Column {
    pub(crate) const fn new(key: &'static str, heading: &'static str, decimals: usize) -> Self {
        Self { key, heading, decimals, adds_up: false }
    }

    /// A count of which none of the rounds' may be lost.
    pub(crate) const fn sum(key: &'static str, heading: &'static str) -> Self {
        Self { key, heading, decimals: 0, adds_up: true }
    }
}

/// What one candidate did in one round, in the order of the columns.
pub(crate) type Sample = Vec<(&'static Column, f64)>;

/// Column of how far the rounds of the first number lie apart.
static SPREAD: Column = Column::new("spread_percent", "±%", 0);

/// Column of the first number's ratio to that of the direct way in the same round.
static RATIO: Column = Column::new("ratio_to_direct", "of direct", 2);

/// One case of a workload, as a table with a row for each candidate.
pub(crate) struct Table {
    workload: String,
    case: String,
    rows: Vec<(String, Vec<(&'static Column, f64)>)>,
}

impl Table {
    /// From each candidate's samples, one for each round; those of the direct way, if they are
    /// there, first.
    ///
    /// The first column is what the workload is about, and gets its spread and ratio.
    pub(crate) fn new(
        workload: &str,
        case: String,
        candidates: Vec<(String, Vec<Sample>)>,
    ) -> Self {
        let direct = candidates
            .first()
            .filter(|(name, _)| name == "direct")
            .map(|(_, samples)| firsts(samples));
        let rows = candidates
            .into_iter()
            .map(|(name, samples)| (name, row(&samples, direct.as_deref())))
            .collect();
        Self { workload: workload.to_owned(), case, rows }
    }

    /// One JSON object a row.
    pub(crate) fn json_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.rows.iter().map(|(name, cells)| {
            let mut object = Map::new();
            object.insert("workload".into(), json!(self.workload));
            object.insert("case".into(), json!(self.case));
            object.insert("candidate".into(), json!(name));
            object.extend(
                cells
                    .iter()
                    .map(|(column, value)| (column.key.into(), rounded(*value, column.decimals))),
            );
            Value::Object(object).to_string()
        })
    }

    /// Columns aligned, in the form of a Markdown table.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![vec![format!("{}: {}", self.workload, self.case)]];
        let columns = self.rows.first().map(|(_, cells)| cells.as_slice()).unwrap_or_default();
        lines[0].extend(columns.iter().map(|(column, _)| column.heading.to_owned()));
        for (name, cells) in &self.rows {
            let cells = cells.iter().map(|(column, value)| format!("{value:.*}", column.decimals));
            lines.push([name.clone()].into_iter().chain(cells).collect());
        }
        aligned(&lines)
    }
}

fn firsts(samples: &[Sample]) -> Vec<f64> {
    samples.iter().filter_map(|sample| sample.first()).map(|(_, value)| *value).collect()
}

fn row(samples: &[Sample], direct: Option<&[f64]>) -> Vec<(&'static Column, f64)> {
    let mut cells = Vec::new();
    let columns = samples.first().map(Vec::as_slice).unwrap_or_default();
    for (index, (column, _)) in columns.iter().enumerate() {
        let values: Vec<f64> = samples.iter().map(|sample| sample[index].1).collect();
        cells.push((*column, if column.adds_up { values.iter().sum() } else { median(&values) }));
        if index == 0 {
            cells.push((&SPREAD, 100.0 * spread(&values)));
            if let Some(direct) = direct {
                let ratios: Vec<f64> =
                    values.iter().zip(direct).map(|(value, direct)| value / direct).collect();
                cells.push((&RATIO, median(&ratios)));
            }
        }
    }
    cells
}

/// As many decimals as the table shows: more would be noise.
fn rounded(value: f64, decimals: usize) -> Value {
    format!("{value:.decimals$}").parse::<f64>().map_or(Value::Null, |value| json!(value))
}

/// The first line is the heading; the first column is aligned to the left, the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(2)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (index, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let cell =
                if index == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            text.push_str(&format!("| {cell} "));
        }
        text.push_str("|\n");
        if number == 0 {
            for (index, width) in widths.iter().enumerate() {
                text.push_str(&format!(
                    "|{}{}",
                    "-".repeat(width + 1),
                    if index == 0 { "-" } else { ":" }
                ));
            }
            text.push_str("|\n");
        }
    }
    text
}
