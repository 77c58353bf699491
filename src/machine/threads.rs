//! Starting threads, which the system may refuse.
//!
//! Not here: where they run (`pin`, `placement`).

use crate::error::{Error, Result};
use std::error::Error as _;
use std::thread::{Scope, ScopedJoinHandle};

/// What `work` returns on a thread of its own.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| in_scope(scope, work).map(join))
}

/// A thread that does `work`, in `scope`.
pub fn in_scope<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let thread = std::thread::Builder::new().spawn_scoped(scope, work);
    thread.map_err(refused)
}

/// What the thread returns; a panic of it goes on in this one.
pub fn join<T>(thread: ScopedJoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The error of a thread that the system does not start.
pub fn refused(why: impl std::fmt::Display) -> Error {
    Error::Refused(format!(
        "cannot start a thread: {why}; raise the limit on processes (ulimit -u, or pids.max of the \
         cgroup)"
    ))
}

/// Start the threads that all simulations of this process share, before the first of them: later it
/// would be too late to refuse.
pub fn for_simulations() -> Result<()> {
    match rayon::ThreadPoolBuilder::new().build_global() {
        // Without a cause of its own the error says that they are there.
        Err(error) if error.source().is_some() => Err(refused(error)),
        _ => Ok(()),
    }
}
