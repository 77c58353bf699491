//! A canvas in pixels: lines, markers and text.
//!
//! Here: fonts, the head of a plot, all colours but those of arms (`frame`). Not here: values and
//! axes (`axis`).

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Text and axes.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Text that explains.
pub const FAINT: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xE4, 0xE4, 0xE4);
/// Shaded areas.
pub const SHADE: RGBColor = RGBColor(0xEF, 0xEF, 0xEF);
/// The ground of a plot.
pub const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
/// What is set aside as invalid: the colour of no layout.
pub const INVALID: RGBColor = RGBColor(0x7B, 0x2C, 0xBF);

/// A name that fits beside a plot: cut where it is longer than those of the built-in layouts.
pub fn short(name: &str) -> String {
    const MOST: usize = 24;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

/// Where text lies relative to its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// To the right of the point.
    Start,
    /// Around the point.
    Middle,
    /// To the left of the point.
    End,
}

/// A drawing surface of a given size in pixels, y downwards.
pub struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Draw an SVG document of that size with that title and caption.
pub fn svg(size: (i32, i32), title: &str, caption: &str, draw: impl FnOnce(&Canvas)) -> String {
    let mut text = String::new();
    let backend = SVGBackend::with_string(&mut text, (size.0 as u32, size.1 as u32));
    let canvas = Canvas {
        area: backend.into_drawing_area(),
    };
    canvas.rect((0, 0), size, PAPER);
    canvas.bold((24, 26), title, 17);
    canvas.text((24, 48), caption, 12, FAINT, Anchor::Start);
    draw(&canvas);
    canvas.area.present().expect(IN_MEMORY);
    drop(canvas);
    with_title(&text, title)
}

const IN_MEMORY: &str = "drawing into memory does not fail";

/// Give the document the title that screen readers and browsers show.
fn with_title(svg: &str, title: &str) -> String {
    let title = maud::html! { title { (title) } }.into_string();
    match svg.split_once(">\n") {
        Some((open, rest)) => format!("{open} role=\"img\">\n{title}\n{rest}"),
        None => svg.to_owned(),
    }
}

impl Canvas<'_> {
    /// A straight line.
    pub fn line(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor, width: u32) {
        self.path(vec![from, to], colour, width);
    }

    /// A line through points.
    pub fn path(&self, points: Vec<(i32, i32)>, colour: RGBColor, width: u32) {
        let style = colour.stroke_width(width);
        self.area
            .draw(&PathElement::new(points, style))
            .expect(IN_MEMORY);
    }

    /// A broken straight line, level or upright.
    pub fn dashed(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor) {
        let length = (to.0 - from.0).abs().max((to.1 - from.1).abs());
        let step = ((to.0 - from.0).signum(), (to.1 - from.1).signum());
        for start in (0..length).step_by(8) {
            let end = (start + 4).min(length);
            let at = |d: i32| (from.0 + step.0 * d, from.1 + step.1 * d);
            self.line(at(start), at(end), colour, 1);
        }
    }

    /// A filled rectangle.
    pub fn rect(&self, corner: (i32, i32), opposite: (i32, i32), colour: RGBColor) {
        let element = Rectangle::new([corner, opposite], colour.filled());
        self.area.draw(&element).expect(IN_MEMORY);
    }

    /// A dot.
    pub fn dot(&self, at: (i32, i32), radius: i32, colour: RGBColor) {
        self.area
            .draw(&Circle::new(at, radius, colour.filled()))
            .expect(IN_MEMORY);
    }

    /// A ring.
    pub fn ring(&self, at: (i32, i32), radius: i32, colour: RGBColor, width: u32) {
        self.area
            .draw(&Circle::new(at, radius, colour.stroke_width(width)))
            .expect(IN_MEMORY);
    }

    /// A triangle that points to the right (`outwards` 1) or to the left (-1).
    pub fn arrow(&self, at: (i32, i32), outwards: i32, colour: RGBColor) {
        let (tip, base) = (at.0 + 5 * outwards, at.0 - 5 * outwards);
        let corners = vec![(tip, at.1), (base, at.1 - 6), (base, at.1 + 6)];
        self.area
            .draw(&Polygon::new(corners, colour.filled()))
            .expect(IN_MEMORY);
    }

    /// The dot of a value, a ring on paper where it is not `full`.
    pub fn marker(&self, at: (i32, i32), full: bool, colour: RGBColor) {
        self.dot(at, 4, if full { colour } else { PAPER });
        if !full {
            self.ring(at, 4, colour, 2);
        }
    }

    /// A diagonal cross.
    pub fn cross(&self, at: (i32, i32), colour: RGBColor) {
        self.area
            .draw(&Cross::new(at, 3, colour.stroke_width(2)))
            .expect(IN_MEMORY);
    }

    /// Text on one line, centred on the height of its point.
    pub fn text(&self, at: (i32, i32), text: &str, size: u32, colour: RGBColor, anchor: Anchor) {
        self.place(at, text, font(size, FontStyle::Normal), colour, anchor);
    }

    /// What a level axis between two pixels shows.
    pub fn axis_label(&self, (left, right): (i32, i32), y: i32, text: &str) {
        self.text(((left + right) / 2, y), text, 13, INK, Anchor::Middle);
    }

    /// Text in bold.
    pub fn bold(&self, at: (i32, i32), text: &str, size: u32) {
        self.place(at, text, font(size, FontStyle::Bold), INK, Anchor::Start);
    }

    /// Text that reads upwards, centred on its point.
    pub fn upwards(&self, at: (i32, i32), text: &str, size: u32) {
        let font = font(size, FontStyle::Normal).transform(FontTransform::Rotate270);
        self.place(at, text, font, INK, Anchor::Middle);
    }

    fn place(&self, at: (i32, i32), text: &str, font: FontDesc, colour: RGBColor, anchor: Anchor) {
        let horizontal = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let style = TextStyle::from(font)
            .color(&colour)
            .pos(Pos::new(horizontal, VPos::Center));
        self.area
            .draw(&Text::new(text.to_owned(), at, style))
            .expect(IN_MEMORY);
    }
}

/// A font of `size` pixels. The SVG backend divides sizes by 1.24; this undoes it.
fn font(size: u32, style: FontStyle) -> FontDesc<'static> {
    ("sans-serif", f64::from(size) * 1.24, style).into_font()
}
