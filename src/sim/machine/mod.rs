//! Machines as the model sees them: topology, caches, latencies, protocol, prefetchers.
//!
//! Here: the registry of the machines that come with `hitm`. Not here: what describes a machine
//! (`model`), reading and checking a file (`file`, `source`, `keys`), and which thread runs where
//! (`topology`).

mod file;
mod keys;
mod model;
mod source;
mod topology;

pub use crate::machine::Distance;
pub use model::{
    AdjacentLine, CacheSpec, LlcPolicy, Machine, OutOfOrder, Picos, Prefetchers, Protocol,
    Transfers, picos,
};
pub use topology::Shape;

use crate::error::{Error, Result};
use std::path::Path;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every machine file that comes with `hitm`.
        const BUILT_IN: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../machines/", $name, ".toml")))),*
        ];
    };
}

// One line a machine; its file is in `sim/machines`.
built_in! {
    "broadwell-ep",
    "skylake-sp",
    "icelake-sp",
    "sapphire-rapids",
    "skylake-client",
    "zen2",
    "zen3",
    "zen4",
    "zen5",
    "graviton2",
    "graviton4",
    "plain-mesi",
}

impl Machine {
    /// Names of the built-in machines.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The text of a built-in machine's file.
    pub fn text(name: &str) -> Result<&'static str> {
        BUILT_IN
            .iter()
            .find(|(built_in, _)| *built_in == name)
            .map(|(_, text)| *text)
            .ok_or_else(|| Error::unknown("machine", name, Machine::names()))
    }

    /// The machine of that name or, where the argument names a file (it ends in `.toml` or has a
    /// `/` in it), the machine described there.
    pub fn load(name_or_file: &str) -> Result<Machine> {
        let text = Machine::source(name_or_file)?;
        match BUILT_IN.iter().any(|(name, _)| *name == name_or_file) {
            true => file::parse(&text, &format!("{name_or_file}.toml"), None),
            false => file::parse(&text, name_or_file, Path::new(name_or_file).parent()),
        }
    }

    /// The text of the file that [`Machine::load`] reads for this argument.
    pub fn source(name_or_file: &str) -> Result<String> {
        if !name_or_file.ends_with(".toml") && !name_or_file.contains('/') {
            return Machine::text(name_or_file).map(str::to_owned);
        }
        std::fs::read_to_string(name_or_file).map_err(|error| {
            Error::Input(format!("cannot read machine file {name_or_file}: {error}"))
        })
    }

    /// A machine from the text of its file; `origin` names it in messages.
    pub fn parse(text: &str, origin: &str) -> Result<Machine> {
        file::parse(text, origin, None)
    }

    /// The same machine with every prefetcher off.
    pub fn without_prefetchers(mut self) -> Machine {
        self.prefetchers = Prefetchers::default();
        self
    }
}
