//! A run folder: where one run keeps its rows, and how they survive a crash.
//!
//! Here: naming, never overwriting, appending whole blocks, replacing whole files. Not here: the
//! contents (`files`, `report`).

use super::environment::EnvironmentFile;
use super::files::{self, SAMPLE_COLUMNS, SamplesFile, further_sample_columns};
use super::refused::unwritable;
use super::roles::{ROLES_CSV, RolesFile};
use crate::error::{Error, Result};
use crate::experiment::{Block, Design, PlannedSample, Sample};
use crate::judge::VerdictRow;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How often at most rows are forced to the disk: a sync stalls the machine that is measured.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// An identifier for a run on `machine` that begins at `now`: UTC date and time, a short name of
/// the machine, and eight random digits that tell runs of one second apart; fit for a file name.
pub fn run_id(now: SystemTime, machine: &str) -> String {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let mut id = time.replace(':', "-");
    for word in slug(machine)
        .split('-')
        .take(3)
        .filter(|word| !word.is_empty())
    {
        id.push('-');
        id.push_str(word);
    }
    let mut random = [0; 4];
    // Four bytes come at once or, on a kernel before 3.17, not at all; the process is then what
    // tells runs apart.
    if rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()) != Ok(4) {
        random = std::process::id().to_le_bytes();
    }
    format!("{id}-{:08x}", u32::from_le_bytes(random))
}

/// Lower-case ASCII letters, digits and single dashes.
pub(crate) fn slug(text: &str) -> String {
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    words.join("-")
}

/// An open run folder. Its `samples.csv` is locked against a second writer.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    samples: File,
    /// Once there are rows of roles.
    roles: Option<RolesFile>,
    bytes: u64,
    counters: Vec<String>,
    synced: Instant,
}

impl RunFolder {
    /// A new run folder at `dir`, or at `results/<run>`, with a `samples.csv` of these counter
    /// columns and no rows: an unwritable place is found out before anything is measured.
    ///
    /// A folder that holds anything is [`Error::Input`]; one that the system does not let us
    /// write, [`Error::Refused`].
    pub fn create(dir: Option<&Path>, run: &str, counters: &[String]) -> Result<RunFolder> {
        let path = dir.map_or_else(|| Path::new("results").join(run), Path::to_owned);
        fs::create_dir_all(&path).map_err(unwritable("create", &path))?;
        let mut entries = fs::read_dir(&path).map_err(unwritable("read", &path))?;
        if entries.next().is_some() {
            return Err(Error::Input(format!(
                "{} is not empty and is not overwritten; name another folder with --out, or go on \
                 with that run with --resume",
                path.display()
            )));
        }
        for role in counters {
            let taken = SAMPLE_COLUMNS.iter().copied();
            assert!(
                !taken
                    .chain(further_sample_columns())
                    .any(|column| column == role),
                "{role} is no counter"
            );
        }
        let file = path.join("samples.csv");
        let mut samples = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&file)
            .map_err(unwritable("create", &file))?;
        lock(&samples, &file)?;
        let header = files::samples_header(counters);
        samples
            .write_all(&header)
            .and_then(|()| samples.sync_all())
            .map_err(unwritable("write", &file))?;
        Ok(RunFolder {
            path,
            samples,
            roles: None,
            bytes: header.len() as u64,
            counters: counters.to_vec(),
            synced: Instant::now(),
        })
    }

    /// Take away again what [`create`](Self::create) made.
    pub fn discard(self) {
        let _ = fs::remove_file(self.path.join("samples.csv"));
        let _ = fs::remove_dir(&self.path);
    }

    /// Open the run folder `dir` to go on where it ends, with the rows that are there. Nothing in it
    /// is changed before [`go_on`](Self::go_on).
    pub fn open_for_resume(dir: &Path) -> Result<(RunFolder, SamplesFile)> {
        let file = dir.join("samples.csv");
        if !file.is_file() {
            return Err(Error::Input(format!(
                "{} has no samples.csv to go on from; name the folder of an earlier run",
                dir.display()
            )));
        }
        let samples = OpenOptions::new()
            .append(true)
            .open(&file)
            .map_err(unwritable("open", &file))?;
        lock(&samples, &file)?;
        let there = files::read_samples(&file)?;
        if !there.complete {
            return Err(Error::Input(format!(
                "{} is of an earlier version of hitm, with other columns; begin a new run",
                file.display()
            )));
        }
        let folder = RunFolder {
            path: dir.to_owned(),
            samples,
            roles: None,
            bytes: there.whole_bytes,
            counters: there.counters.clone(),
            synced: Instant::now(),
        };
        Ok((folder, there))
    }

    /// What `there` holds of `design`: the number of blocks of each design point. A last line or
    /// block that a crash cut short is removed, from the file too. The plan is stateless, so that
    /// rows of another design are told by what their blocks hold.
    pub fn go_on(&mut self, design: &Design, there: &mut SamplesFile) -> Result<Vec<u64>> {
        let whole = design.samples_per_block();
        let block_of = |s: &Sample| (s.point.clone(), s.block);
        let last = there.samples.last().map(block_of);
        let rows = there.samples.iter().rev();
        let rows = rows.take_while(|s| Some(block_of(s)) == last).count();
        let cut_short = if rows < whole { rows } else { 0 };
        let wrong = |why: &str| {
            let file = self.path.join("samples.csv");
            Error::Input(format!("{}: {why}; begin a new run", file.display()))
        };
        let mut taken = vec![0; design.points.len()];
        let (blocks, rest) = there.samples.split_at(there.samples.len() - cut_short);
        for rows in blocks.chunks(whole).chain([rest]) {
            let Some(first) = rows.first() else { continue };
            let point = design.points.iter().position(|p| *p == first.point);
            let point = point.ok_or_else(|| wrong("it holds rows of another design"))?;
            let planned = Block::of(design, point, taken[point]).samples;
            if !rows
                .iter()
                .zip(&planned)
                .all(|(row, planned)| is_of(row, design, planned))
            {
                return Err(wrong(
                    "its rows are not those that environment.json asks for, in blocks one after \
                     the other",
                ));
            }
            taken[point] += u64::from(rows.len() == whole);
        }
        let whole = there.samples.len() - cut_short;
        if let Some(&start) = there.starts.get(whole) {
            self.bytes = start;
        }
        there.samples.truncate(whole);
        let file = self.path.join("samples.csv");
        self.samples
            .set_len(self.bytes)
            .map_err(unwritable("write", &file))?;
        Ok(taken)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The counter columns of its `samples.csv`; fixed for the life of the file.
    pub fn counters(&self) -> &[String] {
        &self.counters
    }

    /// Append the rows of a finished block in one write, so that a crash leaves every finished
    /// block readable. If the write fails the file ends where it did before.
    ///
    /// # Panics
    /// If a sample carries a counter that is not among the file's columns.
    pub fn append_block(&mut self, samples: &[Sample]) -> Result<()> {
        for role in samples.iter().flat_map(|sample| sample.counters.keys()) {
            assert!(
                self.counters.contains(role),
                "counter {role} has no column in this file"
            );
        }
        let lines = files::samples_lines(samples, &self.counters);
        let file = self.path.join("samples.csv");
        if let Err(error) = self.samples.write_all(&lines) {
            // A block that is there in part would look like one with arms missing.
            let _ = self.samples.set_len(self.bytes);
            return Err(unwritable("write", &file)(error));
        }
        self.bytes += lines.len() as u64;
        if self.synced.elapsed() >= SYNC_EVERY {
            self.samples
                .sync_data()
                .map_err(unwritable("write", &file))?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    /// Append the rows of the roles of a block, before those of the block.
    pub fn append_roles(&mut self, rows: &[Sample]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let file = match &mut self.roles {
            Some(file) => file,
            none => none.insert(RolesFile::open(&self.path)?),
        };
        file.append(rows)
    }

    /// Write `verdicts.csv`, whole or not at all.
    pub fn write_verdicts(&self, rows: &[VerdictRow]) -> Result<()> {
        self.write(
            "verdicts.csv",
            files::verdicts_csv(rows, &[], |_, _| None).as_bytes(),
        )
    }

    /// Write `environment.json`, whole or not at all.
    pub fn write_environment(&self, environment: &EnvironmentFile) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(environment)
            .map_err(|e| Error::Input(format!("the environment cannot be written as JSON: {e}")))?;
        json.push(b'\n');
        self.write("environment.json", &json)
    }

    /// Refuse a path that the run is going to write itself.
    pub fn refuse_own(&self, path: &Path) -> Result<()> {
        let names = [
            "samples.csv",
            ROLES_CSV,
            "verdicts.csv",
            "environment.json",
            "report.html",
        ];
        let parent = fs::canonicalize(folder_of(path)).ok();
        let is_here = parent.is_some() && parent == fs::canonicalize(&self.path).ok();
        match is_here
            && names
                .iter()
                .any(|name| path.file_name() == Some(name.as_ref()))
        {
            true => Err(Error::Input(format!(
                "{} is a file of the run itself; name another file",
                path.display()
            ))),
            false => Ok(()),
        }
    }

    /// Write the file `name`, whole or not at all.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        write_whole(&self.path.join(name), contents)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // Rows are in the file already; this only hurries them to the disk.
        let _ = self.samples.sync_data();
    }
}

/// Whether `row` is the sample that `design` has there.
fn is_of(row: &Sample, design: &Design, planned: &PlannedSample) -> bool {
    row.run == design.run
        && (row.backend, &row.machine) == (design.backend, &design.machine)
        && row.role.is_none()
        && row.point == design.points[planned.point]
        && row.arm == design.arms[planned.arm]
        && row.baseline.as_ref() == design.arms.first()
        && row.margin == Some(design.margin)
        && row.label == design.label
        && row.prefetch == planned.prefetch
        && (row.block, row.order) == (planned.block, planned.order)
        && row.first_slot == Some(planned.first_slot)
}

/// The folder that a file at `path` lies in: `.` for a name alone.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Nothing of the user's is overwritten: a file at `path` is an [`Error::Input`]. What is no file,
/// as `/dev/null` or a pipe, may be written to.
pub fn refuse_existing(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() || there.is_dir() => Err(Error::Input(format!(
            "{} exists, and nothing is overwritten; move it away or name another file",
            path.display()
        ))),
        Err(_) if fs::symlink_metadata(path).is_ok() => Err(Error::Input(format!(
            "{} is a link that leads to no file; remove it or name another file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Write a file under another name first and rename it, so that it is there whole or not at all.
/// A link stays one, and what is no file, as `/dev/null` or a pipe, is written to and not replaced.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<()> {
    let there = fs::metadata(path);
    if there.is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let opened = OpenOptions::new().write(true).open(path);
        let written = opened.and_then(|mut device| device.write_all(contents));
        return written.map_err(unwritable("write", path));
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = target.with_file_name(name);
    let written = File::create(&part)
        .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, &target));
    written.map_err(|error| {
        let _ = fs::remove_file(&part);
        unwritable("write", path)(error)
    })
}

fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::Refused(format!(
            "{} is being written by another run; wait for it or name another folder with --out",
            path.display()
        ))),
        // A file system without locks; the folder was ours alone when it was made.
        Err(TryLockError::Error(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_written_to_and_a_link_stays_one() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let folder = std::env::temp_dir().join(format!("hitm-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (link, target) = (folder.join("link"), folder.join("target"));
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let null = folder.join("null");
        symlink("/dev/null", &null).unwrap();
        write_whole(&null, b"new").unwrap();
        write_whole(Path::new("/dev/null"), b"new").unwrap();
        let kind = fs::metadata("/dev/null").unwrap().file_type();
        assert!(kind.is_char_device());
        fs::remove_dir_all(&folder).unwrap();
    }
}
