//! Time per fault by threads: one line per layout, or one row per layout where one or two thread
//! counts make no line.

use super::axis::{Axis, Scale};
use super::canvas::{self, Anchor, Canvas, FAINT, GRID, INK, short};
use super::frame::{Drawn, Frame};
use super::rows::{PlotRow, Rows, Section};
use crate::experiment::Arm;
use crate::report::arms::ArmTime;
use crate::units;
use plotters::style::RGBColor;
use std::collections::BTreeSet;

const SIZE: (i32, i32) = (960, 560);
const LEFT: i32 = 92;
const RIGHT: i32 = 700;
const TOP: i32 = 78;
const BOTTOM: i32 = 496;
/// Least distance of two labels, in pixels.
const LABEL: i32 = 17;

/// The plot of these arms, which differ in threads and layout only.
pub fn draw(frame: &Frame, arms: &[&ArmTime]) -> Option<Drawn> {
    let threads: BTreeSet<usize> = arms.iter().map(|arm| arm.site.point.threads).collect();
    match threads.len() {
        0 => None,
        1 | 2 => Some(as_rows(frame, arms, &threads)),
        _ => Some(as_lines(frame, arms, &threads)),
    }
}

fn as_rows(frame: &Frame, arms: &[&ArmTime], threads: &BTreeSet<usize>) -> Drawn {
    let title = format!("{}: time per fault of each layout", frame.scenario);
    let row = |arm: &&ArmTime| PlotRow {
        label: arm.arm.to_string(),
        colour: frame.colours.colour(&arm.arm),
        value: Some((arm.median_ns, arm.interval_ns)),
        full: matches!(arm.arm, Arm::Layout { .. }),
        figure: units::time(arm.median_ns),
        word: units::count(arm.samples, "sample"),
    };
    let section = |n: &usize| Section {
        heading: units::count(*n, "thread"),
        rows: arms
            .iter()
            .filter(|arm| arm.site.point.threads == *n)
            .map(row)
            .collect(),
    };
    let rows = Rows {
        title: &title,
        caption: &frame.caption,
        axis: "time per fault: median, and 95 % interval of the median",
        tick: units::tick,
        log_from: 6.0,
        ends: None,
        mark: None,
        band: None,
        sections: threads.iter().map(section).collect(),
    };
    let svg = rows.svg();
    (title, svg)
}

fn as_lines(frame: &Frame, arms: &[&ArmTime], threads: &BTreeSet<usize>) -> Drawn {
    let title = format!("{}: time per fault by threads", frame.scenario);
    let layouts = layouts(arms);
    let counts = || threads.iter().map(|n| *n as f64);
    let x = Axis::over(counts(), Scale::fit(counts(), 7.9), 0.04, (LEFT, RIGHT));
    let ends = || {
        arms.iter().flat_map(|arm| {
            let (low, high) = arm.interval_ns.unwrap_or((arm.median_ns, arm.median_ns));
            [low, high]
        })
    };
    let y = Axis::over(ends(), Scale::fit(ends(), 6.0), 0.05, (BOTTOM, TOP));
    let svg = canvas::svg(SIZE, &title, &frame.caption, |canvas| {
        ground(canvas, &x, &y, threads);
        let mut labels = Vec::new();
        for (at, layout) in layouts.iter().enumerate() {
            let colour = frame.colours.colour(layout);
            // Side by side where they meet, so that no interval hides another.
            let aside = 4 * at as i32 - 2 * (layouts.len() as i32 - 1);
            let points: Vec<_> = arms
                .iter()
                .filter(|arm| arm.arm == **layout)
                .map(|arm| {
                    let x = x.px(arm.site.point.threads as f64) + aside;
                    ((x, y.px(arm.median_ns)), *arm)
                })
                .collect();
            series(
                canvas,
                &y,
                &points,
                colour,
                !matches!(layout, Arm::Layout { .. }),
            );
            if let Some((end, arm)) = points.last() {
                let (name, time) = (short(&layout.to_string()), units::time(arm.median_ns));
                labels.push((*end, format!("{name}  {time}"), colour));
            }
        }
        label_ends(canvas, labels);
    });
    (title, svg)
}

fn ground(canvas: &Canvas, x: &Axis, y: &Axis, threads: &BTreeSet<usize>) {
    for tick in y.ticks(9) {
        let at = y.px(tick);
        canvas.line((LEFT, at), (RIGHT, at), GRID, 1);
        canvas.text((LEFT - 10, at), &units::tick(tick), 12, INK, Anchor::End);
    }
    canvas.line((LEFT, BOTTOM), (RIGHT, BOTTOM), INK, 1);
    let mut free = i32::MIN;
    for n in threads {
        let at = x.px(*n as f64);
        canvas.line((at, BOTTOM), (at, BOTTOM + 5), INK, 1);
        if at >= free {
            canvas.text((at, BOTTOM + 16), &n.to_string(), 12, INK, Anchor::Middle);
            free = at + 24;
        }
    }
    canvas.axis_label((LEFT, RIGHT), BOTTOM + 40, "threads");
    canvas.upwards(
        (20, (TOP + BOTTOM) / 2),
        "time per fault: median, 95 % interval",
        13,
    );
}

fn series(
    canvas: &Canvas,
    y: &Axis,
    points: &[((i32, i32), &ArmTime)],
    colour: RGBColor,
    again: bool,
) {
    canvas.path(
        points.iter().map(|(at, _)| *at).collect(),
        colour,
        if again { 1 } else { 2 },
    );
    for (at, arm) in points {
        if let Some((low, high)) = arm.interval_ns {
            canvas.line((at.0, y.px(low)), (at.0, y.px(high)), colour, 2);
        }
        canvas.marker(*at, !again, colour);
    }
}

/// Label each line at its end, and move labels apart where lines end close together.
fn label_ends(canvas: &Canvas, mut labels: Vec<((i32, i32), String, RGBColor)>) {
    labels.sort_by_key(|((_, y), ..)| *y);
    let mut places: Vec<i32> = Vec::new();
    for ((_, y), ..) in &labels {
        places.push(places.last().map_or(*y, |above| (above + LABEL).max(*y)));
    }
    let mut below = BOTTOM + LABEL;
    for place in places.iter_mut().rev() {
        *place = (*place).min(below - LABEL);
        below = *place;
    }
    for ((end, text, colour), place) in labels.iter().zip(places) {
        canvas.path(
            vec![(end.0 + 7, end.1), (RIGHT + 8, place), (RIGHT + 16, place)],
            *colour,
            1,
        );
        canvas.text((RIGHT + 22, place), text, 12, INK, Anchor::Start);
    }
    canvas.text(
        (RIGHT + 22, TOP - 14),
        "at the most threads",
        12,
        FAINT,
        Anchor::Start,
    );
}

/// The layouts of `arms`, in the order of the arms.
fn layouts<'a>(arms: &[&'a ArmTime]) -> Vec<&'a Arm> {
    let mut layouts: Vec<&Arm> = Vec::new();
    for arm in arms {
        if !layouts.contains(&&arm.arm) {
            layouts.push(&arm.arm);
        }
    }
    layouts
}
