//! The one error type of the crate, and the exit status each kind of error ends with.
//!
//! A message is one line: what happened, the likely cause, what to do. It is written where the
//! cause is known; nothing is added on the way up. Panics are for bugs only.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unusable arguments or input: exit status 2.
    #[error("{0}")]
    Input(String),
    /// The machine refuses what was asked (no permission, no such counter): exit status 3.
    #[error("{0}")]
    Refused(String),
    /// Ctrl-C or SIGTERM: what was finished is kept, exit status 130.
    #[error("interrupted")]
    Interrupted,
    /// What `--fail-on` asked for was found: exit status 1.
    #[error("{0}")]
    Found(String),
    /// A layout breaks a rule of its case, or the program a promise of its own: exit status 1.
    #[error("{0}")]
    Broken(String),
}

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The exit status of the command-line contract.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Error::Found(_) | Error::Broken(_) => 1,
            Error::Input(_) => 2,
            Error::Refused(_) => 3,
            Error::Interrupted => 130,
        })
    }

    /// An unknown name, with the nearest valid ones.
    pub fn unknown<'a>(what: &str, given: &str, valid: impl IntoIterator<Item = &'a str>) -> Self {
        let mut near: Vec<(f64, &str)> = valid
            .into_iter()
            .map(|name| (strsim::jaro_winkler(given, name), name))
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let near: Vec<&str> = near.iter().take(3).map(|(_, name)| *name).collect();
        Error::Input(format!(
            "unknown {what} '{}'; the nearest valid names are: {}",
            given.escape_debug(),
            near.join(", ")
        ))
    }
}

/// Say `message` on stderr, in one line that begins with `hitm: `. Control characters in it, as names
/// of files may have them, are escaped. Where nobody reads stderr any more, nothing is said.
pub fn say(message: impl Display) {
    let mut line = String::from("hitm: ");
    for c in message.to_string().chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}
