//! Reading `/proc` and `/sys`: a value, or one line that says why there is none.

use std::fs;
use std::path::Path;

/// A value, or why there is none.
pub type Known<T> = Result<T, String>;

/// The text of `/path` below `root`, without white space around it.
pub fn read(root: &Path, path: &str) -> Known<String> {
    fs::read_to_string(root.join(path))
        .map(|text| text.trim().to_owned())
        .map_err(|why| format!("/{path}: {}", describe(&why)))
}

/// The message without the number of the error.
pub fn describe(why: &std::io::Error) -> String {
    let text = why.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The value in the first line `name : value`.
pub fn value_of<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// What stands in brackets: how sysfs marks the choice that is in force.
pub fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(chosen, _)| chosen)
}
