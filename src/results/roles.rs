//! `roles.csv`: the rows of each role, of a case that has several.
//!
//! A block's rows are written here before those in `samples.csv`, so that none is missing after a
//! crash; a block that is measured again has its rows here twice, and the later ones count.

use super::files::{read_samples, samples_header, samples_lines};
use super::refused::unwritable;
use crate::error::Result;
use crate::experiment::Sample;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Its name in a run folder.
pub const ROLES_CSV: &str = "roles.csv";

/// An open `roles.csv`.
#[derive(Debug)]
pub struct RolesFile {
    file: File,
    path: PathBuf,
}

impl RolesFile {
    /// That of the run folder `dir`, which is made if it is not there; what a crash left of a last
    /// line is removed.
    pub fn open(dir: &Path) -> Result<RolesFile> {
        let path = dir.join(ROLES_CSV);
        let open = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = open.map_err(unwritable("create", &path))?;
        let bytes = match file.metadata() {
            Ok(there) if there.len() > 0 => read_samples(&path)?.whole_bytes,
            _ => 0,
        };
        let header = if bytes == 0 {
            samples_header(&[])
        } else {
            Vec::new()
        };
        file.set_len(bytes)
            .and_then(|()| file.write_all(&header))
            .map_err(unwritable("write", &path))?;
        Ok(RolesFile { file, path })
    }

    /// Append the rows of a block.
    pub fn append(&mut self, rows: &[Sample]) -> Result<()> {
        let lines = samples_lines(rows, &[]);
        let written = self.file.write_all(&lines);
        written.map_err(unwritable("write", &self.path))
    }
}

/// The rows of roles in the run folder `dir` that belong to a block of `samples`, by role; none if
/// there is no such file.
pub fn read_roles(dir: &Path, samples: &[Sample]) -> Result<BTreeMap<String, Vec<Sample>>> {
    let path = dir.join(ROLES_CSV);
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let key = |s: &Sample| (s.run.clone(), s.point.clone(), s.block, s.order);
    let wanted: BTreeMap<_, usize> = samples
        .iter()
        .enumerate()
        .map(|(i, s)| (key(s), i))
        .collect();
    let mut roles: BTreeMap<String, BTreeMap<usize, Sample>> = BTreeMap::new();
    for row in read_samples(&path)?.samples {
        if let (Some(role), Some(&at)) = (row.role.clone(), wanted.get(&key(&row))) {
            roles.entry(role).or_default().insert(at, row);
        }
    }
    let in_order = |rows: BTreeMap<usize, Sample>| rows.into_values().collect();
    Ok(roles
        .into_iter()
        .map(|(role, rows)| (role, in_order(rows)))
        .collect())
}
