//! Compiled code at a place of its own: copies of functions of this program, elsewhere in memory.
//!
//! Here: which bytes a function is, what in them refers to the rest of the program, and the copies.
//! Not here: which function is measured (`loaded`), and code that is made at run time (`made`).

use crate::error::{Error, Result};
use crate::experiment::content_hash;
use crate::program::fault::vma::Pointer;
use crate::program::steps::machine_code::{CodePages, policy};
use crate::space::PAGE;
use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindSection};
use iced_x86::{Decoder, DecoderOptions, FlowControl, OpKind};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{c_int, c_void};
use std::fmt::Write;
use std::ops::Range;

/// A function may begin at multiples of this, as the compiler assumes: it aligns loops to as much.
const PLACE: usize = 16;
/// Places that the measured function may begin at: 64 KiB.
const PLACES: usize = 4096;
/// The functions that it calls begin up to so many places behind the end of the one before.
const GAPS: usize = 256;
/// What is called by what is called by the measured function is copied, too; no more than that.
const LEVELS: usize = 2;
/// Functions that are copied together at most.
const MOST_FUNCTIONS: usize = 24;
/// Bytes of them all at most.
const MOST_BYTES: usize = 256 << 10;
/// Bytes in which copies have room wherever they begin.
const ROOM: usize = PLACES * PLACE + MOST_BYTES + MOST_FUNCTIONS * (GAPS + 1) * PLACE;

/// Puts copies of functions of this program where it is told to, one set of them at a time.
pub struct Placer {
    pages: CodePages,
    image: Image,
    /// What was read so far, by the measured function.
    sets: BTreeMap<usize, Set>,
}

/// A copy of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where it begins.
    pub at: usize,
    /// A hash of its instructions, and of those of what was copied with it, without displacements.
    pub content: u64,
}

impl Placer {
    /// Refused where compiled code cannot be placed anew: another architecture, or a policy against
    /// memory that is made executable.
    pub fn new() -> Result<Placer> {
        if !cfg!(target_arch = "x86_64") {
            return Err(Error::Refused(format!(
                "compiled code is placed anew on x86_64 alone, and this is {}",
                std::env::consts::ARCH
            )));
        }
        let image = Image::here(Placer::new as *const () as usize)
            .ok_or_else(|| refused("the table of the functions of this program cannot be read"))?;
        let mut pages = near(&image.text)
            .map_err(|e| refused(&format!("there is no memory beside the program's own: {e}")))?;
        pages.write(|_| ()).map_err(|errno| {
            refused(&format!(
                "memory of this process may not be made executable (mprotect: {errno}): {}; allow it",
                policy(errno)
            ))
        })?;
        Ok(Placer {
            pages,
            image,
            sets: BTreeMap::new(),
        })
    }

    /// Copy the function that begins at `function`, and what it calls, to a place that follows from
    /// `seed`. Copies from before must not be executed any more. Each thread that executes it has to call
    /// [`synchronize`](crate::program::steps::machine_code::synchronize) first.
    ///
    /// The copy does what the function does, with the same variables: what lies outside is referred
    /// to where it is. It has no table for unwinding, so that a panic in it ends the process.
    pub fn place(&mut self, function: usize, seed: u64) -> Result<Placed> {
        if !self.sets.contains_key(&function) {
            let set = Set::read(&self.image, function).map_err(|why| refused(&why))?;
            self.sets.insert(function, set);
        }
        let set = &self.sets[&function];
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut draw = |count: usize| rng.next_u64() as usize % count * PLACE;
        let mut end = draw(PLACES);
        let mut begins = BTreeMap::new();
        for function in &set.functions {
            begins.insert(function.start, end);
            end = (end + function.bytes.len()).next_multiple_of(PLACE) + draw(GAPS);
        }
        let base = self.pages.start();
        let mut reached = true;
        let written = self.pages.write(|memory| {
            for function in &set.functions {
                let begin = begins[&function.start];
                let to = &mut memory[begin..begin + function.bytes.len()];
                to.copy_from_slice(&function.bytes);
                for reference in &function.references {
                    let copied = begins.get(&reference.target).filter(|_| reference.branch);
                    let target = copied.map_or(reference.target, |begin| base + begin);
                    let from = base + begin + reference.end;
                    match i32::try_from(target.wrapping_sub(from) as isize) {
                        Ok(distance) => {
                            to[reference.field..][..4].copy_from_slice(&distance.to_le_bytes())
                        }
                        Err(_) => reached = false,
                    }
                }
            }
        });
        written.map_err(|errno| refused(&format!("mprotect: {errno}: {}", policy(errno))))?;
        match reached {
            true => Ok(Placed {
                at: base + begins[&function],
                content: set.content,
            }),
            false => Err(refused(
                "there is no memory near enough to the program's own",
            )),
        }
    }
}

fn refused(why: &str) -> Error {
    Error::Refused(format!(
        "the compiled code is measured where the linker put it, which by itself can be several per \
         cent at one thread: {why}"
    ))
}

/// Memory for code that what refers to the program with 32 bits reaches all of it from.
fn near(text: &Range<usize>) -> std::result::Result<CodePages, Errno> {
    const MIB: usize = 1 << 20;
    let apart = [64, 128, 256, 512, 1024].map(|mib| mib * MIB);
    let below = apart
        .iter()
        .filter_map(|apart| text.start.checked_sub(*apart));
    let above = apart.iter().map(|apart| text.end + apart);
    let hints = below.filter(|at| *at >= MIB).chain(above);
    for hint in hints {
        let Ok(pages) = CodePages::map(ROOM, Some(hint / PAGE * PAGE)) else {
            continue;
        };
        let start = pages.start();
        let distance = start.abs_diff(text.start).max(start.abs_diff(text.end));
        if distance <= 1536 * MIB {
            return Ok(pages);
        }
    }
    Err(Errno::NOMEM)
}

/// Functions that are copied together.
struct Set {
    /// The measured one first.
    functions: Vec<Function>,
    content: u64,
}

/// A function as it lies in the program.
struct Function {
    start: usize,
    bytes: Vec<u8>,
    /// What in it counts from where it is.
    references: Vec<Reference>,
    /// Its bytes in hexadecimal digits, displacements as zeros.
    masked: String,
}

/// Four bytes of an instruction that say how far away something outside the function is.
struct Reference {
    /// Where in the function they are.
    field: usize,
    /// Where in the function the instruction ends: distances count from there.
    end: usize,
    /// What is there.
    target: usize,
    /// Whether the instruction goes there.
    branch: bool,
}

impl Set {
    /// The function at `start` with those that it calls, as far as these can be copied and there is
    /// room.
    fn read(image: &Image, start: usize) -> std::result::Result<Set, String> {
        let first = image.function(start).filter(|found| found.start == start);
        let first = first.ok_or("its extent is not known")?;
        let mut functions = vec![Function::read(image, first)?];
        let (mut level, mut bytes) = (0..1, functions[0].bytes.len());
        let mut seen = BTreeSet::from([start]);
        for _ in 0..LEVELS {
            let callers = functions[level.clone()].iter();
            let calls = callers.flat_map(|function| &function.references);
            let called = calls.filter(|call| call.branch).map(|call| call.target);
            for target in called.collect::<Vec<_>>() {
                if functions.len() == MOST_FUNCTIONS || !seen.insert(target) {
                    continue;
                }
                let range = image.function(target).filter(|found| found.start == target);
                let function = range.and_then(|range| Function::read(image, range).ok());
                if let Some(function) = function.filter(|f| bytes + f.bytes.len() <= MOST_BYTES) {
                    bytes += function.bytes.len();
                    functions.push(function);
                }
            }
            level = level.end..functions.len();
        }
        if bytes > MOST_BYTES {
            return Err(format!("it is longer than {MOST_BYTES} bytes"));
        }
        // That would go on in the original.
        let inside = |target: usize| {
            let mut copied = functions.iter();
            copied.any(|f| f.start < target && target < f.start + f.bytes.len())
        };
        let references = functions.iter().flat_map(|function| &function.references);
        if references
            .filter(|reference| reference.branch)
            .any(|reference| inside(reference.target))
        {
            return Err("a branch leads into the middle of a function".to_owned());
        }
        let masked: Vec<&str> = functions.iter().map(|f| f.masked.as_str()).collect();
        Ok(Set {
            content: content_hash(&masked.join(" ")),
            functions,
        })
    }
}

impl Function {
    fn read(image: &Image, range: Range<usize>) -> std::result::Result<Function, String> {
        let bytes = image.code(&range).ok_or("it lies outside the program")?;
        let (start, mut references) = (range.start, Vec::new());
        let mut masked = bytes.to_vec();
        let mut decoder = Decoder::with_ip(64, bytes, start as u64, DecoderOptions::NONE);
        while decoder.can_decode() {
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                return Err(format!(
                    "there is no instruction at {:#x}",
                    instruction.ip()
                ));
            }
            let end = instruction.next_ip() as usize - start;
            let mut refer = |field: usize, target: usize, branch: bool| {
                let distance = bytes.get(field..field + 4).and_then(|b| b.try_into().ok());
                let distance = distance.map_or(0, i32::from_le_bytes) as usize;
                if (start + end).wrapping_add(distance) != target {
                    let ip = instruction.ip();
                    return Err(format!("the instruction at {ip:#x} reaches too near"));
                }
                masked[field..field + 4].fill(0);
                references.push(Reference {
                    field,
                    end,
                    target,
                    branch,
                });
                Ok(())
            };
            let offsets = decoder.get_constant_offsets(&instruction);
            let begin = end - instruction.len();
            if instruction.is_ip_rel_memory_operand() {
                let target = instruction.ip_rel_memory_address() as usize;
                refer(begin + offsets.displacement_offset(), target, false)?;
            } else if instruction.op0_kind() == OpKind::NearBranch64 {
                let target = instruction.near_branch_target() as usize;
                if !range.contains(&target) {
                    refer(end.saturating_sub(4), target, true)?;
                }
            } else if offsets.has_displacement() {
                let field = begin + offsets.displacement_offset();
                masked[field..field + offsets.displacement_size()].fill(0);
            }
            // Where the compiler wants the address of a field itself, it adds the displacement as a
            // number.
            if instruction.op1_kind() == OpKind::Immediate32to64
                && Pointer::DISPLACEMENTS.contains(&instruction.immediate32to64())
            {
                masked[begin + offsets.immediate_offset()..][..4].fill(0);
            }
            // Where a table of jumps leads is the function itself, not its copy.
            if instruction.flow_control() == FlowControl::IndirectBranch
                && !instruction.is_ip_rel_memory_operand()
            {
                return Err(format!("it jumps by a table at {:#x}", instruction.ip()));
            }
        }
        let digits = masked.iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        });
        Ok(Function {
            start,
            bytes: bytes.to_vec(),
            references,
            masked: digits,
        })
    }
}

/// This program as it lies in memory.
struct Image {
    /// The segment that its code is in.
    text: Range<usize>,
    /// The sorted table of functions, `.eh_frame_hdr`, and what follows it in its segment.
    table: &'static [u8],
}

/// What `dl_iterate_phdr` is asked for.
struct Wanted {
    /// An address in the code of the program.
    inside: usize,
    text: Option<Range<usize>>,
    table: Option<Range<usize>>,
}

impl Image {
    /// The program whose code the address `inside` is in.
    fn here(inside: usize) -> Option<Image> {
        let mut wanted = Wanted {
            inside,
            text: None,
            table: None,
        };
        // SAFETY: `visit` takes `wanted` for what it is, and is called before this returns only.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut wanted).cast()) };
        let table = wanted.table?;
        // SAFETY: a part of a segment of this program, which is mapped and readable as long as it
        // runs, and which nothing writes: it is read-only data.
        let table = unsafe { std::slice::from_raw_parts(table.start as *const u8, table.len()) };
        let text = wanted.text?;
        Some(Image { text, table })
    }

    /// Where the function that `address` is in begins and ends.
    fn function(&self, address: usize) -> Option<Range<usize>> {
        if !self.text.contains(&address) {
            return None;
        }
        let start = self.table.as_ptr() as u64;
        let bases = BaseAddresses::default().set_eh_frame_hdr(start);
        let header = EhFrameHdr::new(self.table, LittleEndian)
            .parse(&bases, 8)
            .ok()?;
        let gimli::Pointer::Direct(frames) = header.eh_frame_ptr() else {
            return None;
        };
        let offset = usize::try_from(frames.checked_sub(start)?).ok()?;
        let section = EhFrame::new(self.table.get(offset..)?, LittleEndian);
        let bases = bases.set_eh_frame(frames);
        let found = header.table()?.fde_for_address(
            &section,
            &bases,
            address as u64,
            EhFrame::cie_from_offset,
        );
        let found = found.ok()?;
        Some(found.initial_address() as usize..found.end_address() as usize)
    }

    /// The code there.
    fn code(&self, range: &Range<usize>) -> Option<&'static [u8]> {
        let inside = self.text.start <= range.start && range.end <= self.text.end;
        // SAFETY: a part of the segment of code of this program, which is mapped and readable as
        // long as it runs, and which nothing writes.
        (inside && range.start < range.end)
            .then(|| unsafe { std::slice::from_raw_parts(range.start as *const u8, range.len()) })
    }
}

/// Note what is `Wanted` of the object `info` is about, and go on if it is another one.
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    wanted: *mut c_void,
) -> c_int {
    // SAFETY: what `Image::here` handed over, which nobody else uses meanwhile, and what the dynamic
    // linker hands over: an object with so many headers.
    let (wanted, base, headers) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        (
            &mut *wanted.cast::<Wanted>(),
            info.dlpi_addr as usize,
            headers,
        )
    };
    let range = |header: &libc::Elf64_Phdr| {
        let start = base.wrapping_add(header.p_vaddr as usize);
        start..start.wrapping_add(header.p_memsz as usize)
    };
    let segment = |address: usize, flags: u32| {
        let loaded = headers.iter().filter(|header| {
            header.p_type == libc::PT_LOAD && header.p_flags & (flags | libc::PF_W) == flags
        });
        let mut ranges = loaded.map(range);
        ranges.find(|range| range.contains(&address))
    };
    let Some(text) = segment(wanted.inside, libc::PF_R | libc::PF_X) else {
        return 0;
    };
    wanted.text = Some(text);
    let table = headers
        .iter()
        .find(|header| header.p_type == libc::PT_GNU_EH_FRAME)
        .map(|header| range(header).start);
    // What it leads to lies behind it in the same segment.
    wanted.table = table.and_then(|start| Some(start..segment(start, libc::PF_R)?.end));
    1
}

#[cfg(target_arch = "x86_64")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::steps::machine_code::synchronize;
    use std::arch::asm;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    /// Where it is executed.
    #[inline(never)]
    extern "C" fn here(add: usize) -> usize {
        count(add);
        let at: usize;
        // SAFETY: a call to the next instruction, whose return address is taken from the stack.
        unsafe { asm!("call 2f", "2: pop {}", out(reg) at) };
        at
    }

    #[inline(never)]
    fn count(add: usize) {
        CALLS.fetch_add(add, Relaxed);
    }

    #[test]
    fn a_copy_is_executed_where_it_was_placed_with_the_variables_of_the_program() {
        let mut placer = Placer::new().unwrap();
        let mut places = BTreeSet::new();
        let mut residues = BTreeSet::new();
        for seed in 0..200 {
            let placed = placer.place(here as *const () as usize, seed).unwrap();
            assert_eq!(
                placed,
                placer.place(here as *const () as usize, seed).unwrap()
            );
            synchronize();
            // SAFETY: a whole copy of `here`, which this thread has synchronized with.
            let copy: extern "C" fn(usize) -> usize = unsafe { std::mem::transmute(placed.at) };
            let before = CALLS.load(Relaxed);
            let inside = copy(2).wrapping_sub(placed.at);
            assert_eq!(CALLS.load(Relaxed), before + 2);
            let length = placer.sets[&(here as *const () as usize)].functions[0]
                .bytes
                .len();
            assert!(inside < length, "{inside}");
            assert_eq!(placed.at % PLACE, 0);
            places.insert(placed.at);
            residues.insert(placed.at % 64);
        }
        assert!(places.len() > 150, "{}", places.len());
        assert_eq!(residues.len(), 4);
    }

    #[test]
    fn what_is_called_is_copied_too_and_the_content_does_not_depend_on_the_place() {
        let mut placer = Placer::new().unwrap();
        let first = placer.place(here as *const () as usize, 1).unwrap();
        let second = placer.place(here as *const () as usize, 2).unwrap();
        assert_ne!(first.at, second.at);
        assert_eq!(first.content, second.content);
        let functions = &placer.sets[&(here as *const () as usize)].functions;
        assert!(
            functions
                .iter()
                .any(|f| f.start == count as *const () as usize)
        );
        let other = placer.place(count as *const () as usize, 1).unwrap();
        assert_ne!(first.content, other.content);
    }

    #[test]
    fn what_is_no_function_of_this_program_is_refused() {
        let mut placer = Placer::new().unwrap();
        for at in [
            0,
            16,
            CALLS.as_ptr() as usize,
            libc::getpid as *const () as usize,
        ] {
            assert!(matches!(placer.place(at, 1), Err(Error::Refused(_))));
        }
    }
}
