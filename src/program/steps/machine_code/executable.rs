//! The code of a sample, in memory that it is executed in (`pages`).

use super::code::Code;
use super::context::Context;
use super::pages::{CodePages, policy, write_back};
use crate::error::{Error, Result};
use crate::space::memory::Addr;

/// A function may begin at multiples of this.
const PLACE: usize = 16;
/// Places that the first function of a sample may begin at: 64 KiB.
const PLACES: usize = 4096;

/// The code of a sample, one function a thread.
pub struct Executable {
    pages: CodePages,
    /// Where functions begin in it.
    functions: Vec<usize>,
}

type Function = unsafe extern "C" fn(*mut Context, *mut u8, u64);

impl Executable {
    /// Memory without code yet.
    pub fn new() -> Executable {
        Executable {
            pages: CodePages::default(),
            functions: Vec::new(),
        }
    }

    /// Put these functions in place of the ones before, at a place that follows from `seed`. The
    /// place is the same for the same seed while memory for all is there already.
    pub fn fill(&mut self, codes: &[Code], seed: u64) -> Result<()> {
        self.functions.clear();
        // The low bits decide where the arena begins.
        let mut end = (seed >> 32) as usize % PLACES * PLACE;
        let mut functions = Vec::with_capacity(codes.len());
        for code in codes {
            functions.push(end);
            end = (end + code.bytes.len()).next_multiple_of(PLACE);
        }
        self.reserve(end)?;
        let written = self.pages.write(|memory| {
            for (code, start) in codes.iter().zip(&functions) {
                memory[*start..start + code.bytes.len()].copy_from_slice(&code.bytes);
            }
        });
        written.map_err(|errno| {
            Error::Refused(format!(
                "memory of this process may not be made executable (mprotect: {errno}): {}; the \
                 steps of a case are measured as machine code made at run time, so allow it, or use \
                 hitm sim",
                policy(errno)
            ))
        })?;
        for (code, start) in codes.iter().zip(&functions) {
            write_back((self.pages.start() + start) as *mut u8, code.bytes.len());
        }
        self.functions = functions;
        Ok(())
    }

    /// Do a function `passes` times over.
    ///
    /// # Safety
    /// The function was made of a pass for which `context` has the draws and counters, and which,
    /// with `base` as what its offsets count from, keeps to an arena as a
    /// [`Program`](crate::program::Program) has to; the arena and the tables of its surroundings
    /// are still there; and since it was filled in, this thread has called [`synchronize`].
    pub unsafe fn run(&self, function: usize, context: &mut Context, base: Addr, passes: u32) {
        if passes == 0 {
            return;
        }
        let start = self.functions[function];
        // SAFETY: a whole function of this type begins there (`fill`), in memory that may be
        // executed; the rest is promised by the caller.
        unsafe {
            let function: Function = std::mem::transmute(self.pages.start() + start);
            function(context, base.0 as *mut u8, u64::from(passes));
        }
    }

    /// Have at least so many bytes.
    fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes <= self.pages.bytes() {
            return Ok(());
        }
        // Twice as much as this sample needs: others of the run should find room in it, too.
        let bytes = (bytes + PLACES * PLACE).next_power_of_two();
        self.pages = CodePages::map(bytes, None).map_err(|e| {
            Error::Refused(format!(
                "there are no {bytes} bytes of memory for machine code to be had: {e}"
            ))
        })?;
        Ok(())
    }
}

impl Default for Executable {
    fn default() -> Executable {
        Executable::new()
    }
}
