//! `hitm probe --calibrate`: measures the machine in front of you, for the simulator.
//!
//! Here: rounds of short windows, every quantity in every round (`measure`, of windows by `solo` and
//! `duo`), what they add up to (`findings`) and the machine file made of it (`file`, `core`).

mod chain;
mod core;
mod duo;
mod file;
mod findings;
mod geometry;
mod measure;
mod solo;
mod text;

pub use duo::{HandOver, NEIGHBOURS, Round};
pub use file::About;
pub use findings::{Findings, Link};
pub use geometry::{CacheGeometry, Geometry};
pub use measure::{Calibration, measure};
pub use solo::{Sets, Solo, Window};
