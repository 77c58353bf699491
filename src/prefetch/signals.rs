//! Signals that would end the process only set a flag while registers are changed.
//!
//! No register is touched in a handler: the flag is looked at between writes, and the registers are
//! put back by the ordinary way out.

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// SIGINT, SIGTERM and SIGHUP are noted instead of ending the process, until drop.
pub struct Deferred {
    caught: Arc<AtomicBool>,
    hooks: Vec<SigId>,
}

impl Deferred {
    /// Start. A signal that the process was told to ignore (`nohup`) stays ignored.
    pub fn start() -> io::Result<Deferred> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored(&status);
        let mut deferred = Deferred {
            caught: Arc::default(),
            hooks: Vec::new(),
        };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if ignored & (1 << (signal - 1)) == 0 {
                let hook = signal_hook::flag::register(signal, deferred.caught.clone())?;
                deferred.hooks.push(hook);
            }
        }
        Ok(deferred)
    }

    /// Whether one came.
    pub fn caught(&self) -> bool {
        self.caught.load(Ordering::Relaxed)
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        for hook in self.hooks.drain(..) {
            signal_hook::low_level::unregister(hook);
        }
    }
}

/// The signals ignored according to the text of `/proc/self/status`, signal n as bit n - 1.
fn ignored(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_respected() {
        assert_eq!(
            ignored("Name:\thitm\nSigIgn:\t0000000000001001\n"),
            0x1001 // SIGHUP and SIGPIPE
        );
        assert_eq!(ignored(""), 0);
    }
}
