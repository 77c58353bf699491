//! The keys of a machine file: what each may hold, and which one a place in the text belongs to.
//!
//! Here: one table of ranges. Not here: what keys say together (`file`).

/// Bytes in a line; every machine here has 64.
pub const LINE: usize = crate::space::LINE;
/// Longest latency a file may state. A line that takes 100 us to arrive is a typing error.
pub const MAX_LATENCY_NS: f64 = 100_000.0;
const MAX_BYTES: f64 = (1_u64 << 31) as f64;

/// Lowest and highest value of every number; a key in `_ns` that is not here is a latency.
const RANGES: [(&str, f64, f64); 22] = [
    ("topology.sockets", 1.0, 8.0),
    ("topology.llcs_per_socket", 1.0, 64.0),
    ("topology.cores_per_llc", 1.0, 512.0),
    ("topology.threads_per_core", 1.0, 2.0),
    ("l1.bytes", LINE as f64, MAX_BYTES),
    ("l1.ways", 1.0, 16.0),
    ("l2.bytes", LINE as f64, MAX_BYTES),
    ("l2.ways", 1.0, 32.0),
    ("llc.bytes", LINE as f64, MAX_BYTES),
    ("llc.ways", 1.0, 32.0),
    ("out_of_order.misses_at_once", 1.0, 64.0),
    ("transfer.request_share", 0.0, 0.9),
    ("arbitration.hold_share", 0.0, 0.9),
    ("arbitration.far_limit", 0.0, 1e6),
    ("store_buffer.entries", 1.0, 256.0),
    ("smt.slowdown", 1.0, 4.0),
    ("work.jitter", 0.0, 0.9),
    ("work.scale", 0.01, 100.0),
    ("prefetch.adjacent_line.share", 0.0, 1.0),
    ("prefetch.up_down.share", 0.0, 1.0),
    ("prefetch.next_line.share", 0.0, 1.0),
    ("prefetch.streamer.distance", 1.0, 20.0),
];

/// Lowest and highest value of a number.
pub fn range(key: &str) -> Option<[f64; 2]> {
    let listed = RANGES.iter().find(|(listed, ..)| *listed == key);
    let listed = listed.map(|(_, low, high)| [*low, *high]);
    listed.or(key.ends_with("_ns").then_some([0.0, MAX_LATENCY_NS]))
}

/// What may stand there, where it is not any text.
pub fn allowed(key: &str) -> Option<String> {
    if let Some([low, high]) = range(key) {
        return Some(format!("{low} to {high}"));
    }
    let of = match key {
        "protocol" => "mesi, mesif, moesi",
        "llc.policy" => "inclusive, victim",
        "l2.inclusive" | "transfer.migratory" | "prefetch.adjacent_line.ownership" => "true, false",
        _ => return None,
    };
    Some(of.to_owned())
}

/// The table that the place `at` of a machine file belongs to, with a dot behind it; empty at the
/// top.
fn table(text: &str, at: usize) -> String {
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let headers = text[..end].lines().rev();
    let mut tables = headers.filter_map(|line| line.trim().strip_prefix('['));
    match tables.next().and_then(|line| line.split_once(']')) {
        Some((table, _)) => format!("{}.", table.trim()),
        None => String::new(),
    }
}

/// The key `name` of the table that the place `at` belongs to.
pub fn in_table(text: &str, at: usize, name: &str) -> String {
    format!("{}{name}", table(text, at))
}

/// The key whose value stands at `at`, where a line says `key = value`.
pub fn of_value(text: &str, at: usize) -> Option<String> {
    let line = text[..at].rsplit('\n').next()?;
    let (name, _) = line.split_once('=')?;
    Some(in_table(text, at, name.trim()))
}
