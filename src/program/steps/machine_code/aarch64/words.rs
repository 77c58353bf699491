//! Instructions of A64 as words: "Arm Architecture Reference Manual for A-profile architecture",
//! C6 "A64 Base Instruction Descriptions".
//!
//! Not here: which instructions a pass is made of.

use super::super::super::lowered::Width;

/// A general register: `Xn`, or `Wn` where an instruction has 32-bit operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R(pub u32);

/// Reads as 0; as the base of an access and in [`stp`] and [`ldp`] it is the stack pointer.
pub const ZERO: R = R(31);
/// See [`ZERO`].
pub const SP: R = R(31);

/// A condition of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Equal.
    Eq = 0,
    /// Not equal.
    Ne = 1,
    /// Not below, unsigned.
    Hs = 2,
}

/// How an access with a register alone as its address is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Not at all.
    Relaxed,
    /// Its load acquires.
    Acquire,
    /// Its store releases.
    Release,
}

fn size(width: Width) -> u32 {
    width.bytes().trailing_zeros() << 30
}

/// `rd`, `rn` and `rm` where most instructions have them.
fn three(word: u32, rd: R, rn: R, rm: R) -> u32 {
    word | rm.0 << 16 | rn.0 << 5 | rd.0
}

fn two(word: u32, rd: R, rn: R) -> u32 {
    word | rn.0 << 5 | rd.0
}

/// An immediate of 12 bits.
fn imm12(word: u32, imm: u32) -> u32 {
    assert!(imm < 1 << 12, "{imm} does not fit 12 bits");
    word | imm << 10
}

/// `movz xd, #imm, lsl #(16 * half)`.
pub fn movz(rd: R, imm: u16, half: u32) -> u32 {
    0xd280_0000 | half << 21 | u32::from(imm) << 5 | rd.0
}

/// `movk xd, #imm, lsl #(16 * half)`.
pub fn movk(rd: R, imm: u16, half: u32) -> u32 {
    0xf280_0000 | half << 21 | u32::from(imm) << 5 | rd.0
}

/// `ldr rt, [xn, xm]`, with zeroes before a narrower word.
pub fn ldr(width: Width, rt: R, rn: R, rm: R) -> u32 {
    three(0x3860_6800 | size(width), rt, rn, rm)
}

/// `str rt, [xn, xm]`.
pub fn str(width: Width, rt: R, rn: R, rm: R) -> u32 {
    three(0x3820_6800 | size(width), rt, rn, rm)
}

/// `ldr wt, [xn, xm, lsl #2]`.
pub fn ldr_element(rt: R, rn: R, rm: R) -> u32 {
    three(0xb860_7800, rt, rn, rm)
}

/// `ldr wt, [xn], #4`.
pub fn ldr_next(rt: R, rn: R) -> u32 {
    two(0xb840_4400, rt, rn)
}

/// `ldr xt, [xn, #offset]`.
pub fn ldr_at(rt: R, rn: R, offset: usize) -> u32 {
    two(0xf940_0000, rt, rn) | eighths(offset)
}

/// `str xt, [xn, #offset]`.
pub fn str_at(rt: R, rn: R, offset: usize) -> u32 {
    two(0xf900_0000, rt, rn) | eighths(offset)
}

fn eighths(offset: usize) -> u32 {
    assert!(offset.is_multiple_of(8), "{offset} is no multiple of 8");
    imm12(0, offset as u32 / 8)
}

/// `ldar rt, [xn]`.
pub fn ldar(width: Width, rt: R, rn: R) -> u32 {
    two(0x08df_fc00 | size(width), rt, rn)
}

/// `stlr rt, [xn]`.
pub fn stlr(width: Width, rt: R, rn: R) -> u32 {
    two(0x089f_fc00 | size(width), rt, rn)
}

/// `ldxr rt, [xn]`, or `ldaxr`.
pub fn ldxr(width: Width, order: Order, rt: R, rn: R) -> u32 {
    let acquire = u32::from(order == Order::Acquire) << 15;
    two(0x085f_7c00 | size(width) | acquire, rt, rn)
}

/// `stxr ws, rt, [xn]`, or `stlxr`.
pub fn stxr(width: Width, order: Order, rs: R, rt: R, rn: R) -> u32 {
    let release = u32::from(order == Order::Release) << 15;
    three(0x0800_7c00 | size(width) | release, rt, rn, rs)
}

/// `cas rs, rt, [xn]`, or `casa`, or `casl`.
pub fn cas(width: Width, order: Order, rs: R, rt: R, rn: R) -> u32 {
    let order = match order {
        Order::Relaxed => 0,
        Order::Acquire => 1 << 22,
        Order::Release => 1 << 15,
    };
    three(0x08a0_7c00 | size(width) | order, rt, rn, rs)
}

/// `ldadd rs, rt, [xn]`, or `ldadda`, or `ldaddl`.
pub fn ldadd(width: Width, order: Order, rs: R, rt: R, rn: R) -> u32 {
    let order = match order {
        Order::Relaxed => 0,
        Order::Acquire => 1 << 23,
        Order::Release => 1 << 22,
    };
    three(0x3820_0000 | size(width) | order, rt, rn, rs)
}

/// `prfm pstl1strm, [xn]`.
pub fn prfm_store(rn: R) -> u32 {
    two(0xf980_0000, R(17), rn)
}

/// `add xd, xn, xm`.
pub fn add(rd: R, rn: R, rm: R) -> u32 {
    three(0x8b00_0000, rd, rn, rm)
}

/// `add wd, wn, wm`.
pub fn add_w(rd: R, rn: R, rm: R) -> u32 {
    three(0x0b00_0000, rd, rn, rm)
}

/// `add xd, xn, #imm`.
pub fn add_imm(rd: R, rn: R, imm: u32) -> u32 {
    imm12(two(0x9100_0000, rd, rn), imm)
}

/// `sub xd, xn, #imm`.
pub fn sub_imm(rd: R, rn: R, imm: u32) -> u32 {
    imm12(two(0xd100_0000, rd, rn), imm)
}

/// `subs xd, xn, #imm`.
pub fn subs_imm(rd: R, rn: R, imm: u32) -> u32 {
    imm12(two(0xf100_0000, rd, rn), imm)
}

/// `subs wd, wn, #imm`.
pub fn subs_imm_w(rd: R, rn: R, imm: u32) -> u32 {
    imm12(two(0x7100_0000, rd, rn), imm)
}

/// `cmp xn, xm`.
pub fn cmp(rn: R, rm: R) -> u32 {
    three(0xeb00_0000, ZERO, rn, rm)
}

/// `cmp wn, wm`.
pub fn cmp_w(rn: R, rm: R) -> u32 {
    three(0x6b00_0000, ZERO, rn, rm)
}

/// `tst xn, xm`.
pub fn tst(rn: R, rm: R) -> u32 {
    three(0xea00_0000, ZERO, rn, rm)
}

/// `mov xd, xm`.
pub fn mov(rd: R, rm: R) -> u32 {
    three(0xaa00_0000, rd, ZERO, rm)
}

/// `and wd, wn, #(2^bits - 1)`.
pub fn low_bits_w(rd: R, rn: R, bits: u32) -> u32 {
    assert!((1..32).contains(&bits));
    two(0x1200_0000, rd, rn) | (bits - 1) << 10
}

/// `lsr wd, wn, #16`.
pub fn high_half_w(rd: R, rn: R) -> u32 {
    two(0x5310_7c00, rd, rn)
}

/// `lsr xd, xn, #32`.
pub fn high_half(rd: R, rn: R) -> u32 {
    two(0xd360_fc00, rd, rn)
}

/// `eor wd, wn, wm`.
pub fn eor_w(rd: R, rn: R, rm: R) -> u32 {
    three(0x4a00_0000, rd, rn, rm)
}

/// `mul xd, xn, xm`.
pub fn mul(rd: R, rn: R, rm: R) -> u32 {
    three(0x9b00_7c00, rd, rn, rm)
}

/// `blr xn`.
pub fn blr(rn: R) -> u32 {
    two(0xd63f_0000, R(0), rn)
}

/// `ret`.
pub const RET: u32 = 0xd65f_03c0;
/// `nop`.
pub const NOP: u32 = 0xd503_201f;
/// `yield`.
pub const YIELD: u32 = 0xd503_203f;
/// `dmb ishld`.
pub const DMB_ISHLD: u32 = 0xd503_39bf;
/// `dmb ishst`.
pub const DMB_ISHST: u32 = 0xd503_3abf;

/// How a pair of registers is stored below, or loaded from above, the stack pointer.
#[derive(Clone, Copy)]
pub enum Pair {
    /// `stp xt, xt2, [sp, #-bytes]!`: it goes down by `bytes`.
    Push(u32),
    /// `stp xt, xt2, [sp, #offset]`.
    Store(u32),
    /// `ldp xt, xt2, [sp, #offset]`.
    Load(u32),
    /// `ldp xt, xt2, [sp], #bytes`: it goes up by `bytes`.
    Pop(u32),
}

/// That.
pub fn pair(how: Pair, rt: R, rt2: R) -> u32 {
    let (word, offset) = match how {
        Pair::Push(bytes) => (0xa980_0000, (bytes / 8).wrapping_neg()),
        Pair::Store(offset) => (0xa900_0000, offset / 8),
        Pair::Load(offset) => (0xa940_0000, offset / 8),
        Pair::Pop(bytes) => (0xa8c0_0000, bytes / 8),
    };
    two(word, rt, SP) | (offset & 0x7f) << 15 | rt2.0 << 10
}

/// An instruction that refers to a place in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `b place`.
    Jump,
    /// `b.condition place`.
    If(Condition),
    /// `cbz xn, place`.
    IfZero(R),
    /// `cbnz xn, place`.
    IfNotZero(R),
    /// `cbnz wn, place`.
    IfNotZeroW(R),
    /// `adr xd, place`.
    Address(R),
}

impl Reference {
    /// The word of it, where the place is so many words further on; none where that is too far.
    pub fn word(self, words: i64) -> Option<u32> {
        let bits = match self {
            Reference::Jump => 26,
            // As words, too: it counts bytes, which 21 bits hold.
            _ => 19,
        };
        let reach = 1 << (bits - 1);
        if !(-reach..reach).contains(&words) {
            return None;
        }
        let words = words as u32 & ((1 << bits) - 1);
        Some(match self {
            Reference::Jump => 0x1400_0000 | words,
            Reference::If(condition) => 0x5400_0000 | words << 5 | condition as u32,
            Reference::IfZero(rn) => 0xb400_0000 | words << 5 | rn.0,
            Reference::IfNotZero(rn) => 0xb500_0000 | words << 5 | rn.0,
            Reference::IfNotZeroW(rn) => 0x3500_0000 | words << 5 | rn.0,
            Reference::Address(rd) => 0x1000_0000 | words << 5 | rd.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Condition::{Eq, Hs, Ne};
    use super::Order::{Acquire, Relaxed, Release};
    use super::Width::{B1, B2, B4, B8};
    use super::*;

    /// What the assembler of GNU binutils makes of each text.
    #[test]
    fn words_are_those_of_an_assembler() {
        let r = R;
        let far = |reference: Reference, words| reference.word(words).unwrap();
        let all = [
            (movz(r(16), 0x1234, 0), 0xd2824690, "movz x16, #0x1234"),
            (
                movk(r(16), 0x1234, 1),
                0xf2a24690,
                "movk x16, #0x1234, lsl #16",
            ),
            (
                movk(r(16), 0x1234, 3),
                0xf2e24690,
                "movk x16, #0x1234, lsl #48",
            ),
            (
                ldr(B1, r(0), r(19), r(16)),
                0x38706a60,
                "ldrb w0, [x19, x16]",
            ),
            (
                ldr(B2, r(0), r(19), r(16)),
                0x78706a60,
                "ldrh w0, [x19, x16]",
            ),
            (
                ldr(B4, r(0), r(19), r(16)),
                0xb8706a60,
                "ldr w0, [x19, x16]",
            ),
            (
                ldr(B8, r(0), r(25), r(16)),
                0xf8706b20,
                "ldr x0, [x25, x16]",
            ),
            (
                str(B1, r(23), r(19), r(16)),
                0x38306a77,
                "strb w23, [x19, x16]",
            ),
            (
                str(B8, r(23), r(19), r(16)),
                0xf8306a77,
                "str x23, [x19, x16]",
            ),
            (
                ldr_element(r(1), r(3), r(2)),
                0xb8627861,
                "ldr w1, [x3, x2, lsl #2]",
            ),
            (ldr_next(r(3), r(1)), 0xb8404423, "ldr w3, [x1], #4"),
            (ldr_at(r(2), r(20), 656), 0xf9414a82, "ldr x2, [x20, #656]"),
            (str_at(r(2), r(20), 656), 0xf9014a82, "str x2, [x20, #656]"),
            (ldar(B1, r(0), r(16)), 0x08dffe00, "ldarb w0, [x16]"),
            (ldar(B4, r(0), r(16)), 0x88dffe00, "ldar w0, [x16]"),
            (ldar(B8, r(0), r(16)), 0xc8dffe00, "ldar x0, [x16]"),
            (stlr(B1, ZERO, r(16)), 0x089ffe1f, "stlrb wzr, [x16]"),
            (stlr(B2, r(0), r(16)), 0x489ffe00, "stlrh w0, [x16]"),
            (
                ldxr(B1, Relaxed, r(3), r(16)),
                0x085f7e03,
                "ldxrb w3, [x16]",
            ),
            (ldxr(B8, Relaxed, r(3), r(16)), 0xc85f7e03, "ldxr x3, [x16]"),
            (
                ldxr(B4, Acquire, r(3), r(16)),
                0x885ffe03,
                "ldaxr w3, [x16]",
            ),
            (
                stxr(B8, Relaxed, r(4), r(2), r(16)),
                0xc8047e02,
                "stxr w4, x2, [x16]",
            ),
            (
                stxr(B1, Relaxed, r(4), r(2), r(16)),
                0x08047e02,
                "stxrb w4, w2, [x16]",
            ),
            (
                stxr(B8, Release, r(4), r(2), r(16)),
                0xc804fe02,
                "stlxr w4, x2, [x16]",
            ),
            (
                cas(B1, Relaxed, r(3), r(2), r(16)),
                0x08a37e02,
                "casb w3, w2, [x16]",
            ),
            (
                cas(B8, Relaxed, r(3), r(2), r(16)),
                0xc8a37e02,
                "cas x3, x2, [x16]",
            ),
            (
                cas(B4, Acquire, r(3), r(2), r(16)),
                0x88e37e02,
                "casa w3, w2, [x16]",
            ),
            (
                cas(B1, Acquire, r(3), r(2), r(16)),
                0x08e37e02,
                "casab w3, w2, [x16]",
            ),
            (
                ldadd(B8, Relaxed, r(2), r(3), r(16)),
                0xf8220203,
                "ldadd x2, x3, [x16]",
            ),
            (
                ldadd(B2, Relaxed, r(2), r(3), r(16)),
                0x78220203,
                "ldaddh w2, w3, [x16]",
            ),
            (
                ldadd(B4, Acquire, r(2), r(0), r(16)),
                0xb8a20200,
                "ldadda w2, w0, [x16]",
            ),
            (
                ldadd(B8, Release, r(2), r(3), r(16)),
                0xf8620203,
                "ldaddl x2, x3, [x16]",
            ),
            (prfm_store(r(16)), 0xf9800211, "prfm pstl1strm, [x16]"),
            (add(r(16), r(19), r(16)), 0x8b100270, "add x16, x19, x16"),
            (add_w(r(2), r(2), r(3)), 0x0b030042, "add w2, w2, w3"),
            (add_imm(r(23), r(23), 1), 0x910006f7, "add x23, x23, #1"),
            (sub_imm(r(21), r(21), 1), 0xd10006b5, "sub x21, x21, #1"),
            (subs_imm(r(21), r(21), 1), 0xf10006b5, "subs x21, x21, #1"),
            (subs_imm_w(r(2), r(2), 1), 0x71000442, "subs w2, w2, #1"),
            (cmp(r(0), r(2)), 0xeb02001f, "cmp x0, x2"),
            (cmp_w(r(2), r(3)), 0x6b03005f, "cmp w2, w3"),
            (tst(r(0), r(2)), 0xea02001f, "tst x0, x2"),
            (mov(r(0), r(3)), 0xaa0303e0, "mov x0, x3"),
            (
                low_bits_w(r(2), r(22), 12),
                0x12002ec2,
                "and w2, w22, #0xfff",
            ),
            (
                low_bits_w(r(3), r(0), 16),
                0x12003c03,
                "and w3, w0, #0xffff",
            ),
            (high_half_w(r(2), r(0)), 0x53107c02, "lsr w2, w0, #16"),
            (high_half(r(1), r(1)), 0xd360fc21, "lsr x1, x1, #32"),
            (eor_w(r(2), r(0), r(0)), 0x4a000002, "eor w2, w0, w0"),
            (mul(r(24), r(24), r(5)), 0x9b057f18, "mul x24, x24, x5"),
            (blr(r(16)), 0xd63f0200, "blr x16"),
            (RET, 0xd65f03c0, "ret"),
            (NOP, 0xd503201f, "nop"),
            (YIELD, 0xd503203f, "yield"),
            (DMB_ISHLD, 0xd50339bf, "dmb ishld"),
            (DMB_ISHST, 0xd5033abf, "dmb ishst"),
            (
                pair(Pair::Push(96), r(29), r(30)),
                0xa9ba7bfd,
                "stp x29, x30, [sp, #-96]!",
            ),
            (
                pair(Pair::Store(16), r(19), r(20)),
                0xa90153f3,
                "stp x19, x20, [sp, #16]",
            ),
            (
                pair(Pair::Load(16), r(19), r(20)),
                0xa94153f3,
                "ldp x19, x20, [sp, #16]",
            ),
            (
                pair(Pair::Pop(96), r(29), r(30)),
                0xa8c67bfd,
                "ldp x29, x30, [sp], #96",
            ),
            (far(Reference::Jump, 2), 0x14000002, "b .+8"),
            (far(Reference::Jump, -2), 0x17fffffe, "b .-8"),
            (far(Reference::If(Eq), 2), 0x54000040, "b.eq .+8"),
            (far(Reference::If(Ne), -2), 0x54ffffc1, "b.ne .-8"),
            (far(Reference::If(Hs), 2), 0x54000042, "b.hs .+8"),
            (far(Reference::IfZero(r(0)), 2), 0xb4000040, "cbz x0, .+8"),
            (
                far(Reference::IfNotZero(r(2)), -2),
                0xb5ffffc2,
                "cbnz x2, .-8",
            ),
            (
                far(Reference::IfNotZeroW(r(4)), -2),
                0x35ffffc4,
                "cbnz w4, .-8",
            ),
            (far(Reference::Address(r(1)), 5), 0x100000a1, "adr x1, .+20"),
        ];
        for (made, expected, text) in all {
            assert_eq!(made, expected, "{text}: {made:08x}, not {expected:08x}");
        }
    }

    #[test]
    fn a_branch_goes_no_further_than_it_reaches() {
        assert_eq!(Reference::If(Eq).word(1 << 18), None);
        assert_eq!(Reference::Jump.word(1 << 25), None);
        assert_eq!(Reference::If(Eq).word(-(1 << 18)), Some(0x5480_0000));
    }
}
