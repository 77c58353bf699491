//! Statistics: from blocks to intervals to verdicts.

mod bootstrap;
mod boundary;
mod comparison;
mod summary;
mod units;
mod verdict;

pub use bootstrap::{Interval, trimmed_interval, trimmed_mean};
pub use comparison::{Comparison, Look, Rule};
pub use summary::Summary;
pub use units::{Block, Parity, Units};
pub use verdict::Verdict;
