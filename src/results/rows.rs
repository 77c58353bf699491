//! The rows of several files together: shards, parts of a run, and the same rows given twice.
//!
//! Not here: one file (`files`), and what is concluded from rows (`judge`).

use super::files::{SamplesFile, read_samples, samples_lines, samples_path};
use crate::error::{Error, Result};
use crate::experiment::Sample;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What several files hold together.
#[derive(Debug, Default)]
pub struct Rows {
    /// All rows, each once, file after file. Those of one run may come from several files.
    pub samples: Vec<Sample>,
    /// The counter columns that any of the files has.
    pub counters: Vec<String>,
    /// What was passed over while reading, a sentence each.
    pub warnings: Vec<String>,
}

/// Read `samples.csv` files or run folders. A row that is there twice counts once, and a warning
/// says so. Two rows of one sample with different figures are an [`Error::Input`]: nothing tells
/// which of them was measured.
pub fn read_rows<P: AsRef<Path>>(paths: &[P]) -> Result<Rows> {
    let mut files: Vec<(PathBuf, SamplesFile)> = Vec::new();
    for path in paths {
        let path = samples_path(path.as_ref());
        let file = read_samples(&path)?;
        files.push((path, file));
    }
    let mut rows = Rows::default();
    for (_, file) in &mut files {
        rows.warnings.append(&mut file.warnings);
        for role in &file.counters {
            if !rows.counters.contains(role) {
                rows.counters.push(role.clone());
            }
        }
    }
    let mut known = HashMap::new();
    let mut keep: Vec<bool> = Vec::new();
    for (path, file) in &files {
        for (sample, line) in file.samples.iter().zip(&file.lines) {
            let which = (&sample.run, &sample.point, sample.block, &sample.arm);
            let first = *known
                .entry((which, sample.prefetch, &sample.role))
                .or_insert(sample);
            let is_first = std::ptr::eq(first, sample);
            keep.push(is_first);
            let text = |sample| samples_lines([sample], &rows.counters);
            if !is_first && text(first) != text(sample) {
                return Err(Error::Input(format!(
                    "{}, line {line}: {} in block {} of run {} is there twice, with other \
                     figures; leave out what is wrong",
                    path.display(),
                    sample.arm,
                    sample.block,
                    sample.run
                )));
            }
        }
    }
    let twice = keep.iter().filter(|keep| !**keep).count();
    if twice > 0 {
        let said = format!("of rows that are given twice, each counts once: {twice} left out");
        rows.warnings.push(said);
    }
    let all = files.into_iter().flat_map(|(_, file)| file.samples);
    let once = all
        .zip(keep)
        .filter_map(|(sample, keep)| keep.then_some(sample));
    rows.samples = once.collect();
    Ok(rows)
}
