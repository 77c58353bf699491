//! What the plots of a record share: where and when it was measured, and the colours of its arms.
//!
//! Not here: colours of anything else (`canvas`).

use super::canvas::INK;
use crate::experiment::Arm;
use crate::program::fault::layouts::VmaLayout;
use crate::report::Record;
use crate::report::arms::Site;
use plotters::style::RGBColor;
use std::collections::{BTreeMap, BTreeSet};

/// Title and SVG of a plot.
pub type Drawn = (String, String);

/// What the plots of one site or facet have in common.
pub struct Frame<'a> {
    pub scenario: &'a str,
    /// Their second line.
    pub caption: String,
    /// The equivalence margin, where it is known.
    pub margin: Option<f64>,
    pub colours: &'a Colours,
}

impl<'a> Frame<'a> {
    /// That of `site` in `record`.
    pub fn of(site: &'a Site, record: &Record, colours: &'a Colours) -> Frame<'a> {
        let mut parts = vec![
            site.machine.clone(),
            site.backend.to_string(),
            site.point.placement.to_string(),
            format!("prefetch {}", site.prefetch),
        ];
        let run = &record.run;
        parts.extend(run.started.clone());
        parts.extend(
            run.version
                .as_ref()
                .map(|version| format!("hitm {version}")),
        );
        parts.retain(|part| !part.is_empty());
        Frame {
            scenario: site.point.scenario.name(),
            caption: parts.join("  ·  "),
            margin: record.margin(),
            colours,
        }
    }
}

/// The baseline measured again, and its placebo.
const CONTROL: RGBColor = RGBColor(0x88, 0x88, 0x88);

/// Colours that people with any kind of colour vision tell apart: Okabe and Ito, «Color universal
/// design» (2008), <https://jfly.uni-koeln.de/color/>. Their yellow is darkened to show on white,
/// and their black comes last, being the colour of the text.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xB8, 0xA9, 0x00),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0x22, 0x22, 0x22),
];

/// The colours of the arms of a record, the same in all its plots.
pub struct Colours(BTreeMap<Arm, RGBColor>);

impl Colours {
    /// Built-in layouts have the same colours in every record; others take what these leave free.
    pub fn of(arms: impl Iterator<Item = Arm>) -> Colours {
        let arms: BTreeSet<Arm> = arms.collect();
        let own = |arm: &Arm| {
            let name = arm.to_string();
            VmaLayout::ALL.iter().position(|b| b.name() == name)
        };
        let taken: BTreeSet<usize> = arms.iter().filter_map(own).collect();
        let all = 0..PALETTE.len();
        let free = all.clone().filter(|n| !taken.contains(n));
        let mut others = free.chain(all.cycle());
        let colour = |arm: Arm| {
            let place = match own(&arm) {
                _ if !matches!(arm, Arm::Layout { .. }) => return (arm, CONTROL),
                Some(own) => Some(own),
                None => others.next(),
            };
            (arm, PALETTE[place.unwrap_or(0) % PALETTE.len()])
        };
        Colours(arms.into_iter().map(colour).collect())
    }

    /// The colour of an arm.
    pub fn colour(&self, arm: &Arm) -> RGBColor {
        self.0.get(arm).copied().unwrap_or(INK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::canvas::INVALID;

    #[test]
    fn arms_that_are_shown_together_and_invalid_samples_differ_in_colour() {
        let names = [
            "split-packed",
            "baseline-again",
            "split-packed@all",
            "split-aligned",
            "mine",
            "split-aligned+5%",
        ];
        let arms = names.map(|name| name.parse::<Arm>().unwrap());
        let colours = Colours::of(arms.iter().cloned());
        let mut seen = vec![INVALID];
        for arm in &arms {
            let colour = colours.colour(arm);
            assert!(!seen.contains(&colour), "{arm}");
            seen.push(colour);
        }
        assert!(!PALETTE.contains(&INVALID));
        assert_eq!(
            colours.colour(&arms[0]),
            Colours::of([arms[0].clone()].into_iter()).colour(&arms[0])
        );
    }
}
