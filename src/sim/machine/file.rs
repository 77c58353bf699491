//! A machine file: what its keys mean, and what they may not say together.
//!
//! Not here: what one value may be (`source`, `keys`).

use super::keys::{LINE, MAX_LATENCY_NS};
use super::model::{
    AdjacentLine, CacheSpec, Machine, OutOfOrder, Picos, Prefetchers, Transfers, picos,
};
use super::source::Source;
use super::topology::Shape;
use crate::error::Result;
use std::path::Path;

/// Read and check the text of a machine file. `folder` is where a relative `transfer.matrix` is
/// looked for.
pub fn parse(text: &str, origin: &str, folder: Option<&Path>) -> Result<Machine> {
    let s = &Source::new(text, origin)?;
    let shape = shape(s)?;
    let [l1, l2, llc] = caches(s)?;
    let transfers = transfers(s, &shape, l1.latency, folder)?;
    Ok(Machine {
        name: s.text("name")?,
        description: s.text("description")?,
        protocol: s.word("protocol")?,
        l1,
        issue: s.latency("l1.issue_ns")?,
        l2,
        l2_inclusive: s.flag("l2.inclusive")?,
        llc,
        llc_policy: s.word("llc.policy")?,
        llc_occupancy: s.latency("llc.occupancy_ns")?,
        memory: s.latency("memory.latency_ns")?,
        memory_remote: distance(s, "memory.remote_latency_ns", SOCKETS)?,
        request: request(s, llc.latency)?,
        transfers,
        rmw: s.latency("atomic.rmw_ns")?,
        out_of_order: s.optional("out_of_order", out_of_order)?,
        fence: s.latency("atomic.fence_ns")?,
        pause: s.latency("atomic.pause_ns")?,
        keep: s.latency("arbitration.keep_ns")?,
        hold_share: s
            .optional("arbitration.hold_share", Source::number)?
            .unwrap_or(0.0),
        far_limit: s.count("arbitration.far_limit")? as u32,
        store_buffer: s.count("store_buffer.entries")?,
        smt_slowdown: smt_slowdown(s, &shape)?,
        work_jitter: s.number("work.jitter")?,
        work_scale: s.number("work.scale")?,
        prefetchers: prefetchers(s)?,
        shape,
    })
}

fn shape(s: &Source<'_>) -> Result<Shape> {
    let shape = Shape {
        sockets: s.count(SOCKETS)?,
        llcs_per_socket: s.count(LLCS)?,
        cores_per_llc: s.count("topology.cores_per_llc")?,
        threads_per_core: s.count("topology.threads_per_core")?,
    };
    let (clusters, cores) = (shape.clusters(), shape.cores());
    if clusters > 64 || cores > 512 {
        let what = format!(
            "{clusters} last-level caches and {cores} cores (allowed: 1 to 64 and 1 to 512)"
        );
        return Err(s.error_at(SOCKETS, "topology", &what));
    }
    Ok(shape)
}

fn caches(s: &Source<'_>) -> Result<[CacheSpec; 3]> {
    let caches = [cache(s, "l1")?, cache(s, "l2")?, cache(s, "llc")?];
    for (low, high) in [
        ("l1.issue_ns", "l1.latency_ns"),
        ("l1.latency_ns", "l2.latency_ns"),
        ("l2.latency_ns", "llc.latency_ns"),
    ] {
        ordered(s, low, (high, s.latency(high)?), low)?;
    }
    let (l1, l2) = (s.count("l1.bytes")?, s.count("l2.bytes")?);
    if l1 > l2 {
        let what = format!("contradicts l2.bytes (allowed: up to {l2})");
        return Err(s.error("l1.bytes", &what));
    }
    Ok(caches)
}

fn cache(s: &Source<'_>, table: &str) -> Result<CacheSpec> {
    let key = |name: &str| format!("{table}.{name}");
    let (ways, bytes) = (s.count(&key("ways"))?, s.count(&key("bytes"))?);
    let set = ways * LINE;
    if !bytes.is_multiple_of(set) {
        let what = format!("{bytes} is not a multiple of {ways} ways of {LINE} bytes ({set})");
        return Err(s.error(&key("bytes"), &what));
    }
    Ok(CacheSpec {
        sets: bytes / set,
        ways,
        latency: s.latency(&key("latency_ns"))?,
    })
}

fn transfers(
    s: &Source<'_>,
    shape: &Shape,
    own: Picos,
    folder: Option<&Path>,
) -> Result<Transfers> {
    const SAME: &str = "transfer.same_llc_ns";
    let same = s.latency(SAME)?;
    let far = |key, why| -> Result<Picos> {
        let far = distance(s, key, why)?;
        if s.has(key) {
            ordered(s, SAME, (key, far), key)?;
        }
        Ok(far)
    };
    Ok(Transfers {
        dirty: [
            own,
            same,
            far("transfer.other_llc_ns", LLCS)?,
            far("transfer.other_socket_ns", SOCKETS)?,
        ],
        clean: [
            own,
            s.latency("transfer.same_llc_clean_ns")?,
            distance(s, "transfer.other_llc_clean_ns", LLCS)?,
            distance(s, "transfer.other_socket_clean_ns", SOCKETS)?,
        ],
        upgrade: s.latency("transfer.upgrade_ns")?,
        request_share: s
            .optional("transfer.request_share", Source::number)?
            .unwrap_or(0.0),
        migratory: s.flag("transfer.migratory")?,
        matrix: s
            .optional("transfer.matrix", |s, key| matrix(s, key, folder, shape))?
            .unwrap_or_default(),
    })
}

fn request(s: &Source<'_>, llc: Picos) -> Result<Picos> {
    const KEY: &str = "transfer.request_ns";
    let request = s.latency(KEY)?;
    if request == 0 {
        let what = "0 leaves no lookahead (allowed: 0.1 up to llc.latency_ns)";
        return Err(s.error(KEY, what));
    }
    // The answer takes as long as the request at least.
    for (name, bound) in [
        ("half of llc.latency_ns", llc),
        (
            "half of transfer.same_llc_ns",
            s.latency("transfer.same_llc_ns")?,
        ),
        (
            "half of transfer.same_llc_clean_ns",
            s.latency("transfer.same_llc_clean_ns")?,
        ),
    ] {
        ordered(s, KEY, (name, bound / 2), KEY)?;
    }
    Ok(request)
}

fn out_of_order(s: &Source<'_>, _table: &str) -> Result<OutOfOrder> {
    const WINDOW: &str = "out_of_order.window_ns";
    let (window, issue) = (s.latency(WINDOW)?, s.latency("l1.issue_ns")?);
    // A front end runs ahead by one access at least.
    if window < issue {
        let (window, issue) = (nanos(window), nanos(issue));
        let what = format!(
            "{window} ns contradicts l1.issue_ns = {issue} ns (allowed: {issue} to {MAX_LATENCY_NS})"
        );
        return Err(s.error(WINDOW, &what));
    }
    Ok(OutOfOrder {
        window,
        retire: s.latency("out_of_order.retire_ns")?,
        node: s.latency("out_of_order.node_ns")?,
        step: s.latency("out_of_order.step_ns")?,
        branch_miss: s.latency("out_of_order.branch_miss_ns")?,
        misses_at_once: s.count("out_of_order.misses_at_once")?,
    })
}

fn smt_slowdown(s: &Source<'_>, shape: &Shape) -> Result<f64> {
    const KEY: &str = "smt.slowdown";
    match (s.has("smt"), shape.threads_per_core) {
        (true, 2) => s.number(KEY),
        (false, 1) => Ok(1.0),
        (true, _) => Err(s.error(
            KEY,
            "contradicts topology.threads_per_core = 1; delete [smt]",
        )),
        (false, _) => Err(s.error_at(
            "topology.threads_per_core",
            KEY,
            "missing, and topology.threads_per_core = 2 needs it (allowed: 1 to 4)",
        )),
    }
}

fn prefetchers(s: &Source<'_>) -> Result<Prefetchers> {
    let share = |s: &Source<'_>, table: &str| s.number(&format!("{table}.share"));
    let adjacent_line = |s: &Source<'_>, table: &str| -> Result<AdjacentLine> {
        Ok(AdjacentLine {
            ownership: s.flag(&format!("{table}.ownership"))?,
            share: share(s, table)?,
        })
    };
    let distance = |s: &Source<'_>, table: &str| s.count(&format!("{table}.distance"));
    let streamer = s.optional("prefetch.streamer", distance)?;
    Ok(Prefetchers {
        adjacent_line: s.optional("prefetch.adjacent_line", adjacent_line)?,
        up_down: s.optional("prefetch.up_down", share)?,
        next_line: s.optional("prefetch.next_line", share)?,
        streamer: streamer.map(|distance| distance as u32),
    })
}

const SOCKETS: &str = "topology.sockets";
const LLCS: &str = "topology.llcs_per_socket";

/// A latency that must be there exactly when the topology has such a distance: more than one of
/// what `why` counts. 0 if there is none.
fn distance(s: &Source<'_>, key: &str, why: &str) -> Result<Picos> {
    let count = s.count(why)?;
    match (s.has(key), count > 1) {
        (true, true) => s.latency(key),
        (false, false) => Ok(0),
        (true, false) => {
            let what = format!("contradicts {why} = {count}: there is no such distance; delete it");
            Err(s.error(key, &what))
        }
        (false, true) => {
            let what =
                format!("missing, and {why} = {count} needs it (allowed: 0 to {MAX_LATENCY_NS})");
            Err(s.error_at(why, key, &what))
        }
    }
}

/// Whether the latency `low` is `high` at most; the line that is to blame is that of `at`.
fn ordered(s: &Source<'_>, low: &str, high: (&str, Picos), at: &str) -> Result<()> {
    let (value, most) = (s.latency(low)?, high.1);
    if value <= most {
        return Ok(());
    }
    let (value, most) = (nanos(value), nanos(most));
    let what = format!(
        "{value} ns contradicts {} = {most} ns (allowed: 0 to {most})",
        high.0
    );
    Err(s.error_at(at, low, &what))
}

fn nanos(picos: Picos) -> f64 {
    picos as f64 / 1000.0
}

/// A measured matrix: CSV without a header, lower triangle, one-way latencies in nanoseconds, one
/// row a core or one row a CPU (of which the first of every core is used).
fn matrix(s: &Source<'_>, key: &str, folder: Option<&Path>, shape: &Shape) -> Result<Vec<u32>> {
    let bad = |what: String| s.error(key, &what);
    let file = folder.unwrap_or(Path::new(".")).join(s.text(key)?);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_path(&file)
        .map_err(|error| bad(format!("cannot read {}: {error}", file.display())))?;
    let rows: Vec<csv::StringRecord> = reader
        .records()
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| bad(format!("{}: {error}", file.display())))?;
    let cores = shape.cores();
    if rows.len() != cores && rows.len() != shape.cpus() {
        return Err(bad(format!(
            "{} has {} rows (allowed: {cores} cores or {} CPUs)",
            file.display(),
            rows.len(),
            shape.cpus()
        )));
    }
    let mut matrix = vec![0; cores * cores];
    for from in 0..cores {
        for to in 0..from {
            let cell = rows[from].get(to).unwrap_or_default().trim();
            let nanos: f64 = cell
                .parse()
                .ok()
                .filter(|ns| (0.1..=MAX_LATENCY_NS).contains(ns))
                .ok_or_else(|| {
                    bad(format!(
                        "{}: row {}, column {}: '{cell}' (allowed: 0.1 to {MAX_LATENCY_NS})",
                        file.display(),
                        from + 1,
                        to + 1
                    ))
                })?;
            matrix[from * cores + to] = picos(nanos) as u32;
            matrix[to * cores + from] = picos(nanos) as u32;
        }
    }
    Ok(matrix)
}
