//! The keys of a machine file, and what each may hold.
//!
//! Here: which keys there are, and their ranges. Not here: what keys say together (`file`).

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

/// The keys of every table, by its name and a dot; a table in a table is a key of it.
#[rustfmt::skip]
const TABLES: [(&str, &[&str]); 18] = [
    ("", &["name", "description", "protocol", "topology", "l1", "l2", "llc", "memory", "out_of_order", "transfer",
           "atomic", "arbitration", "store_buffer", "smt", "work", "prefetch"]),
    ("topology.", &["sockets", "llcs_per_socket", "cores_per_llc", "threads_per_core"]),
    ("l1.", &["bytes", "ways", "latency_ns", "issue_ns"]),
    ("l2.", &["bytes", "ways", "latency_ns", "inclusive"]),
    ("llc.", &["bytes", "ways", "latency_ns", "policy", "occupancy_ns"]),
    ("memory.", &["latency_ns", "remote_latency_ns"]),
    ("out_of_order.", &["window_ns", "retire_ns", "node_ns", "step_ns", "branch_miss_ns", "misses_at_once"]),
    ("transfer.", &["request_ns", "request_share", "upgrade_ns", "migratory", "same_llc_ns", "same_llc_clean_ns",
                    "other_llc_ns", "other_llc_clean_ns", "other_socket_ns", "other_socket_clean_ns", "matrix"]),
    ("atomic.", &["rmw_ns", "fence_ns", "pause_ns"]),
    ("arbitration.", &["keep_ns", "hold_share", "far_limit"]),
    ("store_buffer.", &["entries"]),
    ("smt.", &["slowdown"]),
    ("work.", &["jitter", "scale"]),
    ("prefetch.", &["adjacent_line", "up_down", "next_line", "streamer"]),
    ("prefetch.adjacent_line.", &["ownership", "share"]),
    ("prefetch.up_down.", &["share"]),
    ("prefetch.next_line.", &["share"]),
    ("prefetch.streamer.", &["distance"]),
];

/// The keys of a table; none if there is no such table.
pub fn of_table(prefix: &str) -> &'static [&'static str] {
    let found = TABLES.iter().find(|(name, _)| *name == prefix);
    found.map_or(&[], |(_, keys)| *keys)
}
