//! Block by block: the time per fault of every arm and the probe before it, in the order they were
//! measured, so that modes and drift are seen.
//!
//! Every strip shows the same range relative to the time of its arm, so strips compare.

use super::axis::{Axis, Scale};
use super::canvas::{self, Anchor, Canvas, FAINT, GRID, INK, INVALID, SHADE, short};
use super::frame::{Drawn, Frame};
use crate::experiment::{Arm, Sample};
use crate::report::arms::{ArmTime, in_order};
use crate::units;
use plotters::style::RGBColor;
use std::collections::HashMap;

const WIDTH: i32 = 960;
const LEFT: i32 = 92;
const RIGHT: i32 = 740;
const TOP: i32 = 100;
const STRIP: i32 = 58;
const GAP: i32 = 12;
/// More blocks than this are thinned: a dot is about two pixels wide.
const MOST_BLOCKS: usize = 320;

/// A sample at its place along the blocks.
type Placed<'a> = (usize, &'a Sample);

/// The plot of these samples, all of one point, and of their arms.
pub fn draw(
    frame: &Frame,
    samples: &[&Sample],
    arms: &[&ArmTime],
    baseline: Option<&Arm>,
) -> Option<Drawn> {
    let threads = units::count(samples.first()?.point.threads, "thread");
    let title = format!("{}, {threads}: block by block", frame.scenario);
    let mut blocks: HashMap<(&str, u64), usize> = HashMap::new();
    let mut placed: Vec<Placed> = Vec::new();
    for sample in samples {
        let next = blocks.len();
        let at = *blocks.entry((&sample.run, sample.block)).or_insert(next);
        placed.push((at, sample));
    }
    // An odd step, so that slots of both parities stay.
    let every = blocks.len().div_ceil(MOST_BLOCKS) | 1;
    placed.retain(|(at, _)| at % every == 0);
    let layouts = in_order(samples.iter().map(|s| s.arm.clone()), baseline);
    let probed = placed.iter().any(|(_, sample)| sample.probe_ns.is_some());
    let strips = layouts.len() as i32 + i32::from(probed);
    let bottom = TOP + strips * (STRIP + GAP) - GAP;
    let ends = [0.0, (blocks.len() - 1) as f64].into_iter();
    let x = &Axis::over(ends, Scale::Linear, 0.01, (LEFT, RIGHT));
    let spread = spread(&placed, arms);
    let svg = canvas::svg((WIDTH, bottom + 60), &title, &frame.caption, |canvas| {
        legend(canvas);
        shade_invalid(canvas, x, &placed, every, bottom);
        for (n, layout) in layouts.iter().enumerate() {
            let top = TOP + n as i32 * (STRIP + GAP);
            let of_arm = placed.iter().filter(|(_, s)| s.arm == *layout);
            let of_arm: Vec<Placed> = of_arm.copied().collect();
            let time = arms.iter().find(|arm| arm.arm == *layout);
            let colour = frame.colours.colour(layout);
            let name = short(&layout.to_string());
            Strip { canvas, x, top }.arm(&name, &of_arm, time.copied(), spread, colour);
        }
        if probed {
            let top = bottom - STRIP;
            Strip { canvas, x, top }.probe(&placed);
        }
        axes(canvas, x, bottom, every, probed);
    });
    Some((title, svg))
}

fn axes(canvas: &Canvas, x: &Axis, bottom: i32, every: usize, probed: bool) {
    for tick in x.ticks(8).into_iter().filter(|tick| tick.fract() == 0.0) {
        let number = format!("{tick}");
        canvas.text((x.px(tick), bottom + 16), &number, 12, INK, Anchor::Middle);
    }
    let mut blocks = "block, in the order of measurement".to_owned();
    if every > 1 {
        blocks.push_str(&format!(" (1 in {every} is drawn)"));
    }
    canvas.axis_label((LEFT, RIGHT), bottom + 40, &blocks);
    let times = match probed {
        true => "time per fault, and probe latency",
        false => "time per fault",
    };
    canvas.upwards((18, (TOP + bottom) / 2), times, 13);
}

/// How far from the time of its arm, as a share of it, a strip reaches: all but the outermost
/// hundredth of the valid samples, and at least 2 %.
fn spread(placed: &[Placed], arms: &[&ArmTime]) -> f64 {
    let mut away: Vec<f64> = Vec::new();
    for (_, sample) in placed.iter().filter(|(_, s)| s.valid) {
        let arm = arms.iter().find(|arm| arm.arm == sample.arm);
        let share = arm.map(|arm| (sample.ns_per_fault / arm.median_ns - 1.0).abs());
        away.extend(share.filter(|share| share.is_finite()));
    }
    away.sort_by(f64::total_cmp);
    let most = away.get((away.len() * 99 / 100).min(away.len().saturating_sub(1)));
    most.map_or(0.02, |most| (most * 1.15).max(0.02))
}

fn legend(canvas: &Canvas) {
    let y = TOP - 26;
    canvas.dot((LEFT + 4, y), 2, FAINT);
    canvas.text((LEFT + 14, y), "even slab slot", 12, FAINT, Anchor::Start);
    canvas.ring((LEFT + 124, y), 2, FAINT, 1);
    canvas.text((LEFT + 134, y), "odd slab slot", 12, FAINT, Anchor::Start);
    canvas.cross((LEFT + 236, y), INVALID);
    canvas.text(
        (LEFT + 246, y),
        "invalid, its block shaded",
        12,
        FAINT,
        Anchor::Start,
    );
    let edge = "a dot on the edge of its strip lies beyond it";
    canvas.text((LEFT + 414, y), edge, 12, FAINT, Anchor::Start);
}

fn shade_invalid(canvas: &Canvas, x: &Axis, placed: &[Placed], every: usize, bottom: i32) {
    let mut shaded = None;
    for (at, sample) in placed {
        if !sample.valid && shaded != Some(*at) {
            shaded = Some(*at);
            let half = every as f64 / 2.0;
            let (left, right) = (x.px(*at as f64 - half), x.px(*at as f64 + half));
            canvas.rect((left, TOP), (right.max(left + 2), bottom), SHADE);
        }
    }
}

/// A horizontal strip of the plot.
struct Strip<'a, 'c> {
    canvas: &'a Canvas<'c>,
    x: &'a Axis,
    top: i32,
}

impl Strip<'_, '_> {
    fn arm(
        &self,
        name: &str,
        placed: &[Placed],
        time: Option<&ArmTime>,
        spread: f64,
        colour: RGBColor,
    ) {
        let Some(time) = time else {
            self.frame(name, "no valid sample", &[], None);
            return;
        };
        let middle = time.median_ns;
        let (low, high) = (middle * (1.0 - spread).max(0.0), middle * (1.0 + spread));
        let y = self.axis(low, high, Scale::Linear);
        let note = match time.by_slot.len() {
            1 => format!("median {}", units::time(middle)),
            n => format!("{}, mean of {n} slots", units::time(middle)),
        };
        self.frame(name, &note, &[low, middle, high], Some(&y));
        for (at, sample) in placed {
            if !sample.ns_per_fault.is_finite() {
                continue;
            }
            let place = (self.x.px(*at as f64), y.px_within(sample.ns_per_fault));
            match sample.first_slot {
                _ if !sample.valid => self.canvas.cross(place, INVALID),
                Some(slot) if slot % 2 == 1 => self.canvas.ring(place, 2, colour, 1),
                _ => self.canvas.dot(place, 2, colour),
            }
        }
    }

    fn probe(&self, placed: &[Placed]) {
        let latencies = || placed.iter().filter_map(|(_, s)| s.probe_ns);
        let (low, high) = latencies().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        let y = self.axis(low, high, Scale::fit(latencies(), 3.0));
        let ends = if high > low {
            vec![low, high]
        } else {
            vec![low]
        };
        let note = "one way, before each sample";
        self.frame("line-transfer probe", note, &ends, Some(&y));
        for (at, sample) in placed {
            if let Some(latency_ns) = sample.probe_ns {
                self.canvas
                    .dot((self.x.px(*at as f64), y.px(latency_ns)), 1, INK);
            }
        }
    }

    fn axis(&self, low: f64, high: f64, scale: Scale) -> Axis {
        Axis::over(
            [low, high].into_iter(),
            scale,
            0.0,
            (self.top + STRIP - 4, self.top + 4),
        )
    }

    fn frame(&self, name: &str, note: &str, ticks: &[f64], y: Option<&Axis>) {
        let (top, bottom) = (self.top, self.top + STRIP);
        self.canvas.line((LEFT, bottom), (RIGHT, bottom), GRID, 1);
        self.canvas.line((LEFT, top), (RIGHT, top), GRID, 1);
        for tick in ticks {
            if let Some(y) = y {
                let at = y.px(*tick);
                self.canvas
                    .text((LEFT - 8, at), &units::time(*tick), 10, INK, Anchor::End);
            }
        }
        if let (Some(y), [_, middle, _]) = (y, ticks) {
            self.canvas
                .dashed((LEFT, y.px(*middle)), (RIGHT, y.px(*middle)), FAINT);
        }
        let middle = (top + bottom) / 2;
        self.canvas
            .text((RIGHT + 16, middle - 9), name, 13, INK, Anchor::Start);
        self.canvas
            .text((RIGHT + 16, middle + 9), note, 12, FAINT, Anchor::Start);
    }
}
