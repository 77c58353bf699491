//! Loads that nobody uses are executed all the same, as the kernel's volatile loads are: counted in
//! the machine code that a release build measures.
#![cfg(all(test, target_arch = "x86_64"))]

use hitm::backend::native::memory::NativeMemory;
use hitm::program::fault::layouts::literal::{EmbeddedRefcount192, SplitPacked};
use hitm::program::fault::lock::Layout;
use hitm::program::fault::path;
use hitm::program::fault::vma::Pointer;
use hitm::space::arena::Arena;
use hitm::space::memory::{Addr, Memory, NodeKind, Word};
use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, OpAccess, Register};
use std::cell::RefCell;
use std::sync::atomic::Ordering;

/// The loads of an anonymous write fault, as code; it is given a pointer as memory holds it.
type Code = extern "C" fn(&NativeMemory<'_>, u64);

#[inline(never)]
extern "C" fn split_packed(m: &NativeMemory<'_>, vma: u64) {
    path::anonymous_write(m, &SplitPacked, Pointer::held(vma));
}

#[inline(never)]
extern "C" fn embedded_refcount_192(m: &NativeMemory<'_>, vma: u64) {
    path::anonymous_write(m, &EmbeddedRefcount192, Pointer::held(vma));
}

/// Displacements of all instructions of `code` that read memory, the stack apart, in order.
fn reads(code: Code) -> Vec<u64> {
    let start = code as *const () as u64;
    // SAFETY: the function's code, which ends with a return long before; what is decoded behind it
    // is text of this program too.
    let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, 4096) };
    let mut info = InstructionInfoFactory::new();
    let mut reads = Vec::new();
    for instruction in Decoder::with_ip(64, bytes, start, DecoderOptions::NONE) {
        if instruction.mnemonic() == iced_x86::Mnemonic::Ret {
            return reads;
        }
        let memory = info.info(&instruction).used_memory();
        let read = memory.iter().filter(|used| used.access() == OpAccess::Read);
        reads.extend(
            read.filter(|used| !matches!(used.base(), Register::RSP | Register::RBP))
                .map(|used| used.displacement()),
        );
    }
    panic!("no return within a page");
}

/// Takes down the addresses that are loaded.
#[derive(Default)]
struct Loads(RefCell<Vec<u64>>);

impl Memory for Loads {
    fn load<W: Word>(&self, at: Addr, _order: Ordering) -> W {
        self.0.borrow_mut().push(at.0);
        W::narrow(0)
    }
    fn store<W: Word>(&self, _at: Addr, _value: W, _order: Ordering) {}
    fn compare_exchange<W: Word>(
        &self,
        _at: Addr,
        current: W,
        _new: W,
        _order: Ordering,
    ) -> Result<W, W> {
        Ok(current)
    }
    fn fetch_add<W: Word>(&self, _at: Addr, delta: W, _order: Ordering) -> W {
        delta
    }
    fn fetch_sub<W: Word>(&self, _at: Addr, delta: W, _order: Ordering) -> W {
        delta
    }
    fn fence(&self, _order: Ordering) {}
    fn compute(&self, _nanos: u32) {}
    fn clear_page(&self, _page: Addr) {}
    fn searched(&self, _node: NodeKind, _steps: usize) {}
    fn relax(&self) {}
}

fn expected(layout: impl Layout) -> Vec<u64> {
    let loads = Loads::default();
    path::anonymous_write(&loads, &layout, Pointer::held(0));
    loads.0.into_inner()
}

#[test]
fn every_load_of_the_path_is_an_instruction_of_its_own_in_the_same_order() {
    // Executed once, so that neither function is left out of the program.
    let arena = Arena::new(4096).unwrap();
    // SAFETY: both functions load inside the first page.
    let m = unsafe { NativeMemory::new(&arena) };
    for (code, expected) in [
        (split_packed as Code, expected(SplitPacked)),
        (embedded_refcount_192, expected(EmbeddedRefcount192)),
    ] {
        code(&m, Pointer::to(arena.base()).word());
        assert_eq!(expected.len(), 25);
        assert_eq!(reads(code), expected);
    }
}
