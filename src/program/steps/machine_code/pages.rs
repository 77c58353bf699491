//! Pages that machine code is executed from: written, then made executable, and never both at a time.
//!
//! Not here: which code (`executable`: code made of passes; `backend`: copies of compiled code).

use crate::space::PAGE;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::ffi::c_void;

/// Memory that is either writable or executable.
pub struct CodePages {
    base: *mut c_void,
    bytes: usize,
}

// SAFETY: nothing writes through `base` but `write`, which has `&mut self`.
unsafe impl Send for CodePages {}
// SAFETY: as above.
unsafe impl Sync for CodePages {}

impl CodePages {
    /// So many bytes, at `hint` if there is room; wherever there is room for no hint.
    pub fn map(bytes: usize, hint: Option<usize>) -> Result<CodePages, Errno> {
        let bytes = bytes.next_multiple_of(PAGE);
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        let hint = hint.unwrap_or(0) as *mut c_void;
        // SAFETY: a new mapping, which takes nobody's place: the address is no more than a hint.
        let base = unsafe { mmap_anonymous(hint, bytes, flags, MapFlags::PRIVATE) }?;
        Ok(CodePages { base, bytes })
    }

    /// Address of the first byte.
    pub fn start(&self) -> usize {
        self.base as usize
    }

    /// How many there are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Have `write` write code into the memory, and make it executable. Each thread that executes it
    /// has to [`synchronize`] first.
    ///
    /// Nobody may be executing what was there before: only who has `&mut self` knows that.
    pub fn write(&mut self, write: impl FnOnce(&mut [u8])) -> Result<(), Errno> {
        if self.bytes == 0 {
            return Ok(());
        }
        self.protect(MprotectFlags::READ | MprotectFlags::WRITE)?;
        // SAFETY: the whole mapping, which is writable now; `&mut self` has it alone.
        let all = unsafe { std::slice::from_raw_parts_mut(self.base.cast::<u8>(), self.bytes) };
        write(all);
        self.protect(MprotectFlags::READ | MprotectFlags::EXEC)
    }

    fn protect(&self, flags: MprotectFlags) -> Result<(), Errno> {
        // SAFETY: the whole mapping, which only `self` knows; nobody is in its code, for `write`
        // has `&mut self`.
        unsafe { mprotect(self.base, self.bytes, flags) }
    }
}

impl Default for CodePages {
    /// No memory yet.
    fn default() -> CodePages {
        CodePages {
            base: std::ptr::null_mut(),
            bytes: 0,
        }
    }
}

impl Drop for CodePages {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: mapped by `map`; nobody is in its code, and nobody keeps its address.
            let _ = unsafe { munmap(self.base, self.bytes) };
        }
    }
}

/// Who answers like this where memory may not be made executable.
pub fn policy(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS => "SELinux (execmem), PaX (MPROTECT) or prctl(PR_SET_MDWE) answer like this",
        Errno::PERM => {
            "a seccomp filter (systemd: MemoryDenyWriteExecute=yes) or PaX (MPROTECT) answer like this"
        }
        Errno::NOMEM => "there is no memory, or there are too many mappings (vm.max_map_count)",
        _ => "a seccomp filter may answer like this",
    }
}

/// See to it that this thread executes code that another one has written before: to be called once
/// after code was written, by every thread that runs it.
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
pub(super) fn write_back(start: *mut u8, bytes: usize) {
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
pub(super) fn write_back(_: *mut u8, _: usize) {}
