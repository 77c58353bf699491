//! What the system does not let us write, as an error that says what to do.

use crate::error::Error;
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The error of a write, or other action, that did not succeed at `path`.
pub(crate) fn unwritable(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| {
        let failed = format!("cannot {action} {}", path.display());
        let no_descriptor = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
        let remedy = match error.kind() {
            _ if no_descriptor.contains(&error.raw_os_error()) => {
                "raise the limit of open files (ulimit -n) or measure fewer threads"
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "free some space or name another folder with --out; what was finished is kept"
            }
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                return Error::Input(format!(
                    "{failed}: a file is in the way; name another folder with --out"
                ));
            }
            _ => "name a writable folder with --out",
        };
        Error::Refused(format!("{failed}: {error}; {remedy}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_write_is_one_line_with_path_and_remedy() {
        for kind in [
            ErrorKind::StorageFull,
            ErrorKind::PermissionDenied,
            ErrorKind::ReadOnlyFilesystem,
        ] {
            let error = unwritable("write", Path::new("/some/place"))(kind.into());
            let message = error.to_string();
            assert!(matches!(error, Error::Refused(_)));
            assert!(
                message.contains("/some/place") && message.contains("--out"),
                "{message}"
            );
            assert!(!message.contains('\n'));
        }
    }
}
