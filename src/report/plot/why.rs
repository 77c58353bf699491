//! Time per fault and the counters that move with the layout, side by side: a column each, one bar per
//! layout. What makes the time go up has bars of the same shape.

use super::axis::{Axis, Scale};
use super::canvas::{self, Anchor, Canvas, FAINT, GRID, INK, short};
use super::frame::{Drawn, Frame};
use crate::experiment::Arm;
use crate::report::arms::ArmTime;
use crate::report::why::{Counted, CounterRow, SCALED};
use crate::units;

const WIDTH: i32 = 960;
const TOP: i32 = 112;
const ROW: i32 = 22;
const HEADING: i32 = 30;
const LEFT: i32 = 212;
/// Width of a column, and of the longest bar in it; the figure stands to the right of its bar.
const COLUMN: i32 = 124;
const BAR: i32 = 66;
/// Counters beside the time.
const COUNTERS: usize = 5;

/// A column: a name on two lines, and how long its longest bar is.
struct Column {
    name: String,
    unit: String,
    axis: Axis,
}

impl Column {
    fn new(at: usize, name: &str, unit: &str, values: impl Iterator<Item = f64>) -> Column {
        let left = LEFT + at as i32 * COLUMN;
        Column {
            name: name.to_owned(),
            unit: unit.to_owned(),
            axis: Axis::over(values.chain([0.0]), Scale::Linear, 0.0, (left, left + BAR)),
        }
    }
}

/// The plot of what was counted at these points, which differ in threads only, with the arms of the
/// same points. None where no counter moves with the layout.
pub fn draw(frame: &Frame, counted: &[&Counted], arms: &[&ArmTime]) -> Option<Drawn> {
    let names = most_moved(counted);
    if names.is_empty() {
        return None;
    }
    let times = arms.iter().map(|arm| arm.median_ns);
    let mut columns = vec![Column::new(0, "time per fault", "", times)];
    for (n, name) in names.iter().enumerate() {
        let rows: Vec<&CounterRow> = counted.iter().filter_map(|at| row(at, name)).collect();
        let values = rows.iter().flat_map(|row| row.values.iter().flatten());
        let name = rows
            .iter()
            .find(|row| row.scaled)
            .unwrap_or(&rows[0])
            .marked();
        columns.push(Column::new(n + 1, &name, &rows[0].unit, values.copied()));
    }
    let scenario = frame.scenario;
    let title = format!("{scenario}: time per fault, and the counters that move with the layout");
    let rows: usize = counted.iter().map(|at| at.arms.len()).sum();
    let bottom = TOP + HEADING * counted.len() as i32 + ROW * rows as i32 + 6;
    let svg = canvas::svg((WIDTH, bottom + 34), &title, &frame.caption, |canvas| {
        let mut y = TOP;
        for column in &columns {
            head(canvas, column);
        }
        for at in counted {
            let threads = units::count(at.site.point.threads, "thread");
            canvas.bold((24, y + HEADING / 2 + 2), &threads, 13);
            y += HEADING;
            let end = y + ROW * at.arms.len() as i32;
            let arm = |arm: &Arm| {
                let is_it = |time: &&&ArmTime| time.arm == *arm && time.site == at.site;
                arms.iter().find(is_it).map(|arm| arm.median_ns)
            };
            let time = |layout: &Arm| (arm(layout), arm(layout).map(units::time));
            mark(canvas, &columns[0], arm(&at.arms[0]), (y, end));
            for (column, name) in columns[1..].iter().zip(&names) {
                let base = row(at, name).and_then(|row| row.values[0]);
                mark(canvas, column, base, (y, end));
            }
            for (n, layout) in at.arms.iter().enumerate() {
                let middle = y + ROW / 2;
                canvas.text(
                    (LEFT - 14, middle),
                    &short(&layout.to_string()),
                    13,
                    INK,
                    Anchor::End,
                );
                let colour = frame.colours.colour(layout);
                let (value, figure) = time(layout);
                bar(canvas, &columns[0], middle, value, figure, colour);
                for (column, name) in columns[1..].iter().zip(&names) {
                    let row = row(at, name);
                    let value = row.and_then(|row| row.values[n]);
                    let figure = value.and(row).map(|row| row.figure(value));
                    bar(canvas, column, middle, value, figure, colour);
                }
                y += ROW;
            }
        }
        let scaled = columns.iter().any(|column| column.name.ends_with('*'));
        let note = match scaled {
            true => format!("medians over valid samples; broken line: the baseline; {SCALED}"),
            false => "medians over valid samples; broken line: the baseline".to_owned(),
        };
        canvas.text((LEFT, bottom + 14), &note, 12, FAINT, Anchor::Start);
    });
    Some((title, svg))
}

/// The counters that move most at any of the points.
fn most_moved(counted: &[&Counted]) -> Vec<String> {
    let mut moved: Vec<(f64, &str)> = Vec::new();
    for row in counted.iter().flat_map(|at| at.moving()) {
        match moved.iter_mut().find(|(_, name)| *name == row.name) {
            Some((most, _)) => *most = most.max(row.moved),
            None => moved.push((row.moved, &row.name)),
        }
    }
    moved.sort_by(|a, b| b.0.total_cmp(&a.0));
    moved.truncate(COUNTERS);
    moved.into_iter().map(|(_, name)| name.to_owned()).collect()
}

fn row<'a>(at: &'a Counted, name: &str) -> Option<&'a CounterRow> {
    at.rows.iter().find(|row| row.name == name)
}

/// The name of a column, broken near its middle, and its unit.
fn head(canvas: &Canvas, column: &Column) {
    let left = column.axis.px(0.0);
    let breaks = column.name.match_indices(['_', ' ']).map(|(at, _)| at + 1);
    let middle = column.name.len() / 2;
    let at = match column.name.len() {
        ..=17 => None,
        _ => breaks.min_by_key(|at| at.abs_diff(middle)),
    };
    let (first, second) = column.name.split_at(at.unwrap_or(0));
    for (line, y) in [(first, TOP - 36), (second, TOP - 20)] {
        canvas.text((left, y), line, 12, INK, Anchor::Start);
    }
    canvas.text((left, TOP - 4), &column.unit, 11, FAINT, Anchor::Start);
}

/// The line where bars begin, and a broken one where that of the baseline ends.
fn mark(canvas: &Canvas, column: &Column, base: Option<f64>, (top, bottom): (i32, i32)) {
    let left = column.axis.px(0.0);
    canvas.line((left, top), (left, bottom), GRID, 1);
    if let Some(base) = base.map(|base| column.axis.px(base)) {
        canvas.dashed((base, top), (base, bottom), FAINT);
    }
}

fn bar(
    canvas: &Canvas,
    column: &Column,
    y: i32,
    value: Option<f64>,
    figure: Option<String>,
    colour: plotters::style::RGBColor,
) {
    let left = column.axis.px(0.0);
    let end = value.map_or(left, |value| column.axis.px(value));
    canvas.rect((left, y - 6), (end, y + 6), colour);
    let figure = figure.unwrap_or_else(|| "not counted".to_owned());
    canvas.text((end + 5, y), &figure, 11, INK, Anchor::Start);
}
