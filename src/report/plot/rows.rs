//! One row per layout: its value as a dot, its interval as a bar, and the figure in words beside it.
//!
//! Shared by the ratios, and by the times where there are too few thread counts for lines.

use super::axis::{Axis, Scale};
use super::canvas::{self, Anchor, Canvas, FAINT, GRID, INK, SHADE, short};
use plotters::style::RGBColor;

/// One row.
pub struct PlotRow {
    /// Its name, at the left.
    pub label: String,
    /// Its colour.
    pub colour: RGBColor,
    /// Value, and interval if there is one.
    pub value: Option<(f64, Option<(f64, f64)>)>,
    /// Whether the dot is full; a ring otherwise.
    pub full: bool,
    /// The figure in words, at the right.
    pub figure: String,
    /// What follows from it, further right.
    pub word: String,
}

/// Rows under a heading.
pub struct Section {
    /// The heading.
    pub heading: String,
    /// The rows.
    pub rows: Vec<PlotRow>,
}

/// A plot of rows.
pub struct Rows<'a> {
    pub title: &'a str,
    pub caption: &'a str,
    /// What the axis shows, with its unit.
    pub axis: &'a str,
    /// How a tick is written.
    pub tick: fn(f64) -> String,
    /// From which factor between values on the axis is logarithmic.
    pub log_from: f64,
    /// The axis ends here at the latest; what lies beyond is an arrow on its edge.
    pub ends: Option<(f64, f64)>,
    /// A line at this value.
    pub mark: Option<f64>,
    /// A shaded band.
    pub band: Option<(f64, f64)>,
    pub sections: Vec<Section>,
}

const WIDTH: i32 = 960;
const TOP: i32 = 76;
const ROW: i32 = 24;
const HEADING: i32 = 30;
const LEFT: i32 = 216;
const RIGHT: i32 = 680;

impl Rows<'_> {
    /// The SVG document.
    pub fn svg(&self) -> String {
        let rows: usize = self.sections.iter().map(|section| section.rows.len()).sum();
        let height = HEADING * self.sections.len() as i32 + ROW * rows as i32;
        let bottom = TOP + height + 6;
        canvas::svg((WIDTH, bottom + 54), self.title, self.caption, |canvas| {
            let axis = self.axis();
            self.ground(canvas, &axis, bottom);
            let mut y = TOP;
            for section in &self.sections {
                canvas.bold((24, y + HEADING / 2 + 2), &section.heading, 13);
                y += HEADING;
                for row in &section.rows {
                    self.row(canvas, &axis, y + ROW / 2, row);
                    y += ROW;
                }
            }
        })
    }

    fn axis(&self) -> Axis {
        let values = || {
            let rows = self.sections.iter().flat_map(|section| &section.rows);
            rows.filter_map(|row| row.value)
                .flat_map(|(value, interval)| {
                    let (low, high) = interval.unwrap_or((value, value));
                    [value, low, high]
                })
                .chain(self.mark)
                .chain(self.band.into_iter().flat_map(|(low, high)| [low, high]))
        };
        let (low, high) = self.ends.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let shown = || values().map(|value| value.clamp(low, high));
        Axis::over(
            shown(),
            Scale::fit(shown(), self.log_from),
            0.05,
            (LEFT, RIGHT),
        )
    }

    fn ground(&self, canvas: &Canvas, axis: &Axis, bottom: i32) {
        if let Some((low, high)) = self.band {
            canvas.rect((axis.px(low), TOP), (axis.px(high), bottom), SHADE);
        }
        for tick in axis.ticks(8) {
            let x = axis.px(tick);
            canvas.line((x, TOP), (x, bottom), GRID, 1);
            let text = (self.tick)(tick);
            canvas.text((x, bottom + 14), &text, 12, INK, Anchor::Middle);
        }
        if let Some(mark) = self.mark {
            canvas.line((axis.px(mark), TOP), (axis.px(mark), bottom), FAINT, 1);
        }
        canvas.line((LEFT, bottom), (RIGHT, bottom), INK, 1);
        canvas.axis_label((LEFT, RIGHT), bottom + 36, self.axis);
    }

    fn row(&self, canvas: &Canvas, axis: &Axis, y: i32, row: &PlotRow) {
        canvas.text((LEFT - 14, y), &short(&row.label), 13, INK, Anchor::End);
        if let Some((value, interval)) = row.value {
            if let Some((low, high)) = interval {
                let ends = [axis.px_within(low), axis.px_within(high)];
                canvas.line((ends[0], y), (ends[1], y), row.colour, 3);
                for (end, value) in ends.into_iter().zip([low, high]) {
                    if axis.px(value) == end {
                        canvas.line((end, y - 5), (end, y + 5), row.colour, 2);
                    }
                }
            }
            let at = (axis.px_within(value), y);
            if axis.px(value) != at.0 {
                let outwards = if axis.px(value) > at.0 { 1 } else { -1 };
                canvas.arrow(at, outwards, row.colour);
            } else {
                canvas.marker(at, row.full, row.colour);
            }
        }
        canvas.text((RIGHT + 100, y), &row.figure, 13, INK, Anchor::End);
        canvas.text((RIGHT + 116, y), &row.word, 13, INK, Anchor::Start);
    }
}
