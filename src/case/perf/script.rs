//! `perf script -F addr,data_src`, and more fields beside: a sample a line.

use super::data_source::DataSource;
use super::profile::{CountUnit, FieldUse, ProfileText, UsePlace, UsedBy, decimal, hex, words};
use crate::error::Result;

/// What the decoded data source begins with. Only the word before it is used: the decoded text has
/// blanks, and may be cut short.
pub(super) const DECODED: &str = "|OP ";

/// Read it.
pub(super) fn read<'t>(
    text: ProfileText<'t>,
    found: &mut dyn FnMut(FieldUse<'t>),
) -> Result<Vec<String>> {
    for line in text.lines() {
        let (number, line) = line?;
        let Some((before, decoded)) = line.split_once(DECODED) else {
            if line.trim().is_empty() || line.starts_with('#') || is_caller(line) {
                continue;
            }
            return Err(text.wrong(
                number,
                "no data source; record with perf mem record, and write the text with: perf script -F addr,data_src",
            ));
        };
        let mut head = words(before);
        let source = head.pop().and_then(|(_, word)| hex(word));
        let Some(source) = source else {
            return Err(text.wrong(number, "no hexadecimal data source before |OP"));
        };
        let Some(address) = head.pop().and_then(|(_, word)| hex(word)) else {
            return Err(text.wrong(
                number,
                "no address before the data source; write the text with: perf script -F addr,data_src",
            ));
        };
        let (event, mut by) = who(before, head);
        by.symbol = symbol(decoded);
        found(FieldUse {
            place: UsePlace::Address(address),
            event,
            by,
            counts: DataSource(source).counts(),
            unit: CountUnit::Records,
        });
    }
    Ok(Vec::new())
}

/// Whether a line is one of a call chain: an address and a function below a sample.
fn is_caller(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let address = words.next().is_some_and(|word| hex(word).is_some());
    line.starts_with([' ', '\t']) && address && words.next().is_some()
}

/// The event, the thread and the CPU, from the words before the address: `comm pid/tid [cpu]
/// time: period event:`, each there only if it was asked for.
fn who<'t>(line: &'t str, mut head: Vec<(usize, &'t str)>) -> (&'t str, UsedBy<'t>) {
    let mut by = UsedBy::default();
    let mut event = "";
    let is_time = |word: &str| {
        let digits = word.strip_suffix(':').and_then(|time| time.split_once('.'));
        digits.is_some_and(|(s, part)| decimal(s).is_some() && decimal(part).is_some())
    };
    if let Some((_, word)) = head.pop_if(|(_, word)| word.ends_with(':') && !is_time(word)) {
        event = word.trim_end_matches(':');
        // The period, between the time and the event.
        head.pop_if(|(_, word)| decimal(word).is_some());
    }
    head.pop_if(|(_, word)| is_time(word));
    let cpu = |word: &str| {
        let number = word.strip_prefix('[')?.strip_suffix(']')?;
        u32::try_from(decimal(number)?).ok()
    };
    if let Some((_, word)) = head.pop_if(|(_, word)| cpu(word).is_some()) {
        by.cpu = cpu(word);
    }
    let id = |word: &str| u32::try_from(decimal(word)?).ok();
    if let Some((_, word)) = head.last() {
        match word.split_once('/') {
            Some((pid, tid)) if id(pid).is_some() && id(tid).is_some() => {
                (by.pid, by.tid) = (id(pid), id(tid));
                head.pop();
            }
            _ if id(word).is_some() => {
                by.tid = id(word);
                head.pop();
            }
            _ => {}
        }
    }
    if let (Some((first, _)), Some((last, word))) = (head.first(), head.last()) {
        let comm = line.get(*first..last + word.len()).unwrap_or("");
        // The name of a thread that perf does not know is its number.
        by.comm = if comm.starts_with(':') { "" } else { comm };
    }
    (event, by)
}

/// The function, from what stands behind the decoded data source: weight, instruction, function and
/// physical address, each there only if it was asked for. Numbers are padded, so more than two
/// blanks end the decoded text.
fn symbol(decoded: &str) -> &str {
    let last = decoded.rsplit('|').next().unwrap_or("");
    let Some((_, tail)) = last.split_once("   ") else {
        return "";
    };
    let Some((at, _)) = words(tail)
        .into_iter()
        .find(|(_, word)| hex(word).is_none())
    else {
        return "";
    };
    let name = tail.get(at..).unwrap_or("");
    // Behind it: padding, the offset into it, the file.
    let end = [
        name.find("  "),
        name.find("+0x"),
        name.find(" (/"),
        name.find(" (["),
    ];
    let end = end.into_iter().flatten().min().unwrap_or(name.len());
    match name.get(..end).unwrap_or("").trim() {
        "[unknown]" => "",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> FieldUse<'_> {
        let mut uses = Vec::new();
        let text = ProfileText {
            name: "script.txt",
            text: line,
        };
        read(text, &mut |found| uses.push(found)).unwrap();
        assert_eq!(uses.len(), 1);
        uses.remove(0)
    }

    #[test]
    fn names_of_threads_may_have_blanks() {
        let found = one(
            " Web Content 2  4242/4243  [001]     0.001:  7 cpu/mem-loads/P:  404084  11e29800842 |OP LOAD|BLK  N/A       181  401106 ns::f(int, char)+0x6 (/bin/x)   123",
        );
        assert_eq!(found.by.comm, "Web Content 2");
        assert_eq!(found.by.symbol, "ns::f(int, char)");
        assert_eq!(found.event, "cpu/mem-loads/P");
        assert_eq!(
            (found.by.pid, found.by.tid, found.by.cpu),
            (Some(4242), Some(4243), Some(1))
        );
    }

    #[test]
    fn callers_below_a_sample_are_passed_over() {
        let found =
            one(" 404084 11e29800842 |OP LOAD|BLK  N/A\n\t    401106 lookup+0x6 (/bin/x)\n\n");
        assert_eq!(found.place, UsePlace::Address(0x404084));
    }
}
