//! A folder shaped like `/dev/cpu`: eight CPUs, no two alike.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The register of Intel cores.
pub const CONTROL: u64 = 0x1a4;

pub struct Tree {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Tree {
    /// In memory, where there is such a folder: the journal is synced in every one of hundreds of
    /// runs.
    pub fn new() -> Tree {
        let memory = Path::new("/dev/shm");
        match memory.is_dir() {
            true => Tree::within(tempfile::tempdir_in(memory).unwrap()),
            false => Tree::on_disk(),
        }
    }

    pub fn on_disk() -> Tree {
        Tree::within(tempfile::tempdir().unwrap())
    }

    fn within(folder: tempfile::TempDir) -> Tree {
        let root = folder.path().join("cpu");
        for cpu in 0..8 {
            let folder = root.join(cpu.to_string());
            std::fs::create_dir_all(&folder).unwrap();
            let file = File::create(folder.join("msr")).unwrap();
            file.write_all_at(&value(cpu).to_le_bytes(), CONTROL)
                .unwrap();
            file.write_all_at(&[0xee; 8], CONTROL + 8).unwrap();
        }
        Tree {
            _folder: folder,
            root,
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn register(&self, cpu: usize) -> u64 {
        let mut bytes = [0; 8];
        let file = File::open(self.root.join(cpu.to_string()).join("msr")).unwrap();
        file.read_exact_at(&mut bytes, CONTROL).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Every byte of every file under the folder, and of the journal beside it if there is one.
    pub fn bytes(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.parent().unwrap().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    files.push((path, bytes));
                }
            }
        }
        files.sort();
        files
    }

    pub fn journal(&self) -> PathBuf {
        self.root.with_file_name("cpu.prefetch.json")
    }

    /// `hitm ARGS --msr-root …`
    pub fn hitm(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hitm"));
        command
            .args(args)
            .args(["--vendor", "intel", "--msr-root"])
            .arg(&self.root);
        command
    }

    /// `hitm prefetch ARGS --msr-root …`
    #[allow(dead_code, reason = "not every test that has a tree switches by hand")]
    pub fn command(&self, args: &[&str]) -> Command {
        self.hitm(&[&["prefetch"], args].concat())
    }

    /// `hitm run ARGS --prefetch ab --msr-root …`, of one thread and one layout, into `out`.
    #[allow(dead_code, reason = "nor does every one measure")]
    pub fn measure(&self, out: &Path, args: &[&str]) -> Command {
        let run = ["run", "--prefetch", "ab", "--layouts", "split-packed"];
        let one = ["--scenario", "one-vma", "--threads", "1"];
        let mut command = self.hitm(&[&run[..], &one, args].concat());
        command.arg("--out").arg(out);
        command
    }

    #[allow(dead_code, reason = "as above")]
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}

/// What the register holds at the start: prefetcher bits in every combination that eight CPUs
/// allow, and others.
fn value(cpu: usize) -> u64 {
    0x5a00_0000_0000_0020 | (cpu as u64) << 40 | (cpu as u64 * 5) & 0xf
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
