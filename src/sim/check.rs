//! The debug mode: every access sees the last write.
//!
//! Here: one version per line, and the version each core was given with its copy. Not here: the
//! single-writer rule, which `coherence` checks against its own directory.

/// Versions of lines, and which of them each core holds.
pub struct Checker {
    lines: usize,
    latest: Vec<u32>,
    held: Vec<u32>,
}

impl Checker {
    /// For `cores` cores and `lines` lines.
    pub fn new(cores: usize, lines: usize) -> Checker {
        Checker {
            lines,
            latest: vec![0; lines],
            held: vec![0; cores * lines],
        }
    }

    /// The core was given the line: with the data comes the latest version.
    pub fn fill(&mut self, core: usize, line: u32) {
        self.held[core * self.lines + line as usize] = self.latest[line as usize];
    }

    /// The core reads, or writes, the line it holds.
    ///
    /// # Panics
    /// When it holds an older version than the last one written: an invalidation was missed.
    pub fn access(&mut self, core: usize, line: u32, write: bool) {
        let held = &mut self.held[core * self.lines + line as usize];
        let latest = &mut self.latest[line as usize];
        assert_eq!(
            *held, *latest,
            "core {core} reads a stale copy of line {line}"
        );
        if write {
            *latest += 1;
            *held = *latest;
        }
    }
}
