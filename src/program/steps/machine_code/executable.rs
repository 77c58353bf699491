//! Memory that machine code is executed in.
//!
//! It is written, then made executable, and never both at a time.

use super::code::Code;
use super::context::Context;
use crate::error::{Error, Result};
use crate::space::PAGE;
use crate::space::memory::Addr;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::ffi::c_void;

/// A function may begin at multiples of this.
const PLACE: usize = 16;
/// Places that the first function of a sample may begin at: 64 KiB.
const PLACES: usize = 4096;

/// The code of a sample, one function a thread.
pub struct Executable {
    base: *mut c_void,
    bytes: usize,
    /// Where functions begin in it.
    functions: Vec<usize>,
}

// SAFETY: nothing writes through `base` but `fill`, which has `&mut self`.
unsafe impl Send for Executable {}
// SAFETY: as above.
unsafe impl Sync for Executable {}

type Function = unsafe extern "C" fn(*mut Context, *mut u8, u64);

impl Executable {
    /// Memory without code yet.
    pub fn new() -> Executable {
        Executable {
            base: std::ptr::null_mut(),
            bytes: 0,
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
        self.protect(MprotectFlags::READ | MprotectFlags::WRITE)?;
        for (code, start) in codes.iter().zip(&functions) {
            // SAFETY: the bytes from `start` on are inside the mapping (see `reserve`), which is
            // writable and which nobody executes or reads: `&mut self`.
            unsafe {
                let to = self.base.cast::<u8>().add(*start);
                to.copy_from_nonoverlapping(code.bytes.as_ptr(), code.bytes.len());
            }
        }
        self.protect(MprotectFlags::READ | MprotectFlags::EXEC)?;
        for (code, start) in codes.iter().zip(&functions) {
            write_back(
                self.base.cast::<u8>().wrapping_add(*start),
                code.bytes.len(),
            );
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
            let function: Function = std::mem::transmute(self.base.cast::<u8>().add(start));
            function(context, base.0 as *mut u8, u64::from(passes));
        }
    }

    /// Have at least so many bytes.
    fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        self.unmap();
        // Twice as much as this sample needs: others of the run should find room in it, too.
        let bytes = (bytes + PLACES * PLACE).next_power_of_two().max(PAGE);
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, wherever there is room.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, flags, MapFlags::PRIVATE) };
        self.base = base.map_err(|e| {
            Error::Refused(format!(
                "there are no {bytes} bytes of memory for machine code to be had: {e}"
            ))
        })?;
        self.bytes = bytes;
        Ok(())
    }

    fn protect(&self, flags: MprotectFlags) -> Result<()> {
        // SAFETY: the whole mapping, which only `self` knows; nobody is in its code, for `fill` has
        // `&mut self`.
        unsafe { mprotect(self.base, self.bytes, flags) }.map_err(refused)
    }

    fn unmap(&mut self) {
        if self.bytes > 0 {
            // SAFETY: mapped by `reserve`; nobody is in its code, and nobody keeps its address.
            let _ = unsafe { munmap(self.base, self.bytes) };
            self.bytes = 0;
        }
    }
}

impl Default for Executable {
    fn default() -> Executable {
        Executable::new()
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        self.unmap();
    }
}

fn refused(errno: Errno) -> Error {
    let policy = match errno {
        Errno::ACCESS => "SELinux (execmem), PaX (MPROTECT) or prctl(PR_SET_MDWE) answer like this",
        Errno::PERM => {
            "a seccomp filter (systemd: MemoryDenyWriteExecute=yes) or PaX (MPROTECT) answer like this"
        }
        Errno::NOMEM => "there is no memory, or there are too many mappings (vm.max_map_count)",
        _ => "a seccomp filter may answer like this",
    };
    Error::Refused(format!(
        "memory of this process may not be made executable (mprotect: {errno}): {policy}; the steps \
         of a case are measured as machine code made at run time, so allow it, or use hitm sim"
    ))
}

/// See to it that this thread executes code that another one has written before: to be called once
/// after [`Executable::fill`], by every thread that runs it.
pub fn synchronize() {
    // "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 3, 9.1.3
    // "Handling Self- and Cross-Modifying Code": a serializing instruction.
    #[cfg(target_arch = "x86_64")]
    std::hint::black_box(std::arch::x86_64::__cpuid(0));
    // SAFETY: it only has what follows be fetched again.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("isb", options(nostack, preserves_flags));
    }
}

/// See to it that instructions are fetched as they have been written: caches for instructions do
/// not follow stores. Each thread that executes them has to [`synchronize`] then.
#[cfg(target_arch = "aarch64")]
fn write_back(start: *mut u8, bytes: usize) {
    // "Arm Architecture Reference Manual for A-profile architecture", B2.7.4.2 "Cache maintenance
    // of instruction and data": clean the data to where both meet, then invalidate instructions.
    let cache_type: usize;
    // SAFETY: Linux lets user space read this register.
    unsafe {
        std::arch::asm!("mrs {}, ctr_el0", out(reg) cache_type, options(nomem, nostack));
    }
    // Lines, as the logarithm of their words.
    let data_line = 4 << (cache_type >> 16 & 15);
    let instruction_line = 4 << (cache_type & 15);
    let (start, end) = (start as usize, start as usize + bytes);
    for line in (start / data_line * data_line..end).step_by(data_line) {
        // SAFETY: a line of memory that is mapped and readable; its contents stay.
        unsafe {
            std::arch::asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags));
        }
    }
    // SAFETY: a barrier.
    unsafe { std::arch::asm!("dsb ish", options(nostack, preserves_flags)) };
    for line in (start / instruction_line * instruction_line..end).step_by(instruction_line) {
        // SAFETY: as above.
        unsafe {
            std::arch::asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags));
        }
    }
    // SAFETY: barriers.
    unsafe { std::arch::asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// Where caches for instructions follow stores, there is nothing to do.
#[cfg(not(target_arch = "aarch64"))]
fn write_back(_: *mut u8, _: usize) {}
