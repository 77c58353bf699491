//! Machine code as assembly that is meant to be read.

use super::super::lowered::At;
use super::code::Code;

/// The instructions of `code`, a line each, with what `name` calls the memory that each accesses.
#[cfg(target_arch = "x86_64")]
pub fn listing(code: &Code, name: impl Fn(At) -> String) -> String {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    use std::fmt::Write;
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_first_operand_char_index(8);
    options.set_space_after_operand_separator(true);
    options.set_rip_relative_addresses(true);
    // They are encoded all the same.
    options.set_show_zero_displacements(true);
    let mut accesses = code.accesses.iter().peekable();
    let (mut lines, mut text) = (String::new(), String::new());
    let bytes = &code.bytes[..code.instructions];
    for instruction in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE) {
        text.clear();
        formatter.format(&instruction, &mut text);
        let start = instruction.ip() as usize;
        let _ = match accesses.next_if(|(offset, _)| *offset == start) {
            Some((_, at)) => writeln!(lines, "{start:6x}  {text:<48}; {}", name(*at)),
            None => writeln!(lines, "{start:6x}  {text}"),
        };
    }
    lines
}

/// The instructions of `code` as words, a line each: there is no disassembler for them here.
#[cfg(not(target_arch = "x86_64"))]
pub fn listing(code: &Code, name: impl Fn(At) -> String) -> String {
    use std::fmt::Write;
    let mut accesses = code.accesses.iter().peekable();
    let mut lines = String::new();
    let words = code.bytes[..code.instructions].chunks_exact(4);
    for (start, word) in (0..).step_by(4).zip(words) {
        let text = word
            .iter()
            .rev()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        let _ = match accesses.next_if(|(offset, _)| *offset == start) {
            Some((_, at)) => writeln!(lines, "{start:6x}  {text}  ; {}", name(*at)),
            None => writeln!(lines, "{start:6x}  {text}"),
        };
    }
    lines
}
