//! Time per fault by threads: one line per layout, or one row per layout where one or two thread
//! counts make no line.

use super::axis::{Axis, Scale};
use super::canvas::{self, Anchor, Canvas, FAINT, GRID, INK, PAPER, colour, short};
use super::rows::{PlotRow, Rows, Section};
use crate::experiment::Arm;
use crate::report::arms::ArmTime;
use crate::report::units;
use plotters::style::RGBColor;

const SIZE: (i32, i32) = (960, 560);
const LEFT: i32 = 92;
const RIGHT: i32 = 700;
const TOP: i32 = 78;
const BOTTOM: i32 = 496;
/// Least distance of two labels, in pixels.
const LABEL: i32 = 17;

/// Title and SVG of the plot of these arms, which differ in threads and layout only.
pub fn draw(scenario: &str, caption: &str, arms: &[&ArmTime]) -> Option<(String, String)> {
    let mut threads: Vec<usize> = arms.iter().map(|arm| arm.site.point.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    match threads.len() {
        0 => None,
        1 | 2 => Some(as_rows(scenario, caption, arms, &threads)),
        _ => Some(as_lines(scenario, caption, arms, &threads)),
    }
}

fn as_rows(
    scenario: &str,
    caption: &str,
    arms: &[&ArmTime],
    threads: &[usize],
) -> (String, String) {
    let title = format!("{scenario}: time per fault of each layout");
    let layouts = layouts(arms);
    let row = |arm: &&&ArmTime| PlotRow {
        label: arm.arm.to_string(),
        colour: colour_of(&arm.arm, &layouts),
        value: Some((arm.median_ns, arm.interval_ns)),
        full: arm.arm != Arm::Again,
        figure: units::time(arm.median_ns),
        word: units::count(arm.samples, "sample"),
    };
    let section = |n: &usize| Section {
        heading: units::count(*n, "thread"),
        rows: arms
            .iter()
            .filter(|arm| arm.site.point.threads == *n)
            .map(|arm| row(&arm))
            .collect(),
    };
    let rows = Rows {
        title: &title,
        caption,
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

fn as_lines(
    scenario: &str,
    caption: &str,
    arms: &[&ArmTime],
    threads: &[usize],
) -> (String, String) {
    let title = format!("{scenario}: time per fault by threads");
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
    let svg = canvas::svg(SIZE, &title, caption, |canvas| {
        ground(canvas, &x, &y, threads);
        let mut labels = Vec::new();
        for (at, layout) in layouts.iter().enumerate() {
            let colour = colour(layout, at);
            // Side by side where they meet, so that no interval hides another.
            let aside = 4 * at as i32 - 2 * (layouts.len() as i32 - 1);
            let points: Vec<_> = arms
                .iter()
                .filter(|arm| arm.arm == **layout)
                .map(|arm| {
                    (
                        (
                            x.px(arm.site.point.threads as f64) + aside,
                            y.px(arm.median_ns),
                        ),
                        *arm,
                    )
                })
                .collect();
            series(canvas, &y, &points, colour, **layout == Arm::Again);
            if let Some((end, arm)) = points.last() {
                labels.push((
                    *end,
                    format!(
                        "{}  {}",
                        short(&layout.to_string()),
                        units::time(arm.median_ns)
                    ),
                    colour,
                ));
            }
        }
        label_ends(canvas, labels);
    });
    (title, svg)
}

fn ground(canvas: &Canvas, x: &Axis, y: &Axis, threads: &[usize]) {
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
    canvas.text(
        ((LEFT + RIGHT) / 2, BOTTOM + 40),
        "threads",
        13,
        INK,
        Anchor::Middle,
    );
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
        if again {
            canvas.dot(*at, 4, PAPER);
            canvas.ring(*at, 4, colour, 2);
        } else {
            canvas.dot(*at, 4, colour);
        }
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

fn colour_of(layout: &Arm, layouts: &[&Arm]) -> RGBColor {
    colour(
        layout,
        layouts
            .iter()
            .position(|other| *other == layout)
            .unwrap_or(0),
    )
}
