//! Statistics: from blocks to an interval to a verdict, while the blocks are still coming in.
//!
//! Here: units of analysis, the trimmed mean and its interval, the levels of repeated looks,
//! whether two groups differ, the verdicts, the summary of one arm. All of it is numbers in, numbers out. Not here: how
//! a sample is taken, when it is valid, and who decides to go on (`experiment`).

mod boundary;
mod comparison;
mod difference;
mod interval;
mod location;
mod quantile;
mod summary;
mod tail;
mod units;
mod verdict;

pub use comparison::{Comparison, Look, Rule};
pub use difference::Difference;
pub use interval::Interval;
pub use location::TRIM;
pub use quantile::{Spread, geometric_mean, median, quantile};
pub use summary::Summary;
pub use tail::Tail;
pub use units::{Effect, Parity, UnitOf, Units};
pub use verdict::Verdict;
