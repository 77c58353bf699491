//! A machine file: what may stand in it, and what is wrong with one, by file, line and key.

use super::keys::MAX_LATENCY_NS;
use super::model::{AdjacentLine, Machine, OutOfOrder, Prefetchers, Transfers, picos};
use super::source::{Count, Number, Source};
use super::topology::Shape;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::path::Path;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    description: String,
    topology: RawTopology,
    protocol: Spanned<String>,
    l1: RawL1,
    l2: RawL2,
    llc: RawLlc,
    memory: RawMemory,
    out_of_order: Option<RawOutOfOrder>,
    transfer: RawTransfer,
    atomic: RawAtomic,
    arbitration: RawArbitration,
    store_buffer: RawStoreBuffer,
    smt: Option<RawSmt>,
    work: RawWork,
    #[serde(default)]
    prefetch: RawPrefetch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTopology {
    sockets: Count,
    llcs_per_socket: Count,
    cores_per_llc: Count,
    threads_per_core: Count,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawL1 {
    bytes: Count,
    ways: Count,
    latency_ns: Number,
    issue_ns: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawL2 {
    bytes: Count,
    ways: Count,
    latency_ns: Number,
    inclusive: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLlc {
    bytes: Count,
    ways: Count,
    latency_ns: Number,
    policy: Spanned<String>,
    occupancy_ns: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMemory {
    latency_ns: Number,
    remote_latency_ns: Option<Number>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutOfOrder {
    window_ns: Number,
    retire_ns: Number,
    node_ns: Number,
    step_ns: Number,
    branch_miss_ns: Number,
    misses_at_once: Count,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTransfer {
    request_ns: Number,
    request_share: Option<Number>,
    upgrade_ns: Number,
    migratory: bool,
    same_llc_ns: Number,
    same_llc_clean_ns: Number,
    other_llc_ns: Option<Number>,
    other_llc_clean_ns: Option<Number>,
    other_socket_ns: Option<Number>,
    other_socket_clean_ns: Option<Number>,
    matrix: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAtomic {
    rmw_ns: Number,
    fence_ns: Number,
    pause_ns: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawArbitration {
    keep_ns: Number,
    hold_share: Option<Number>,
    far_limit: Count,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStoreBuffer {
    entries: Count,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSmt {
    slowdown: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWork {
    jitter: Number,
    scale: Number,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawPrefetch {
    adjacent_line: Option<RawAdjacent>,
    up_down: Option<RawShare>,
    next_line: Option<RawShare>,
    streamer: Option<RawStreamer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdjacent {
    ownership: bool,
    share: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShare {
    share: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStreamer {
    distance: Count,
}

/// Read and check the text of a machine file. `folder` is where a relative `transfer.matrix` is
/// looked for.
pub fn parse(text: &str, origin: &str, folder: Option<&Path>) -> Result<Machine> {
    let source = Source { text, origin };
    let raw: Raw = toml::from_str(text).map_err(|error| source.unreadable(&error))?;
    let s = &source;

    let shape = Shape {
        sockets: s.count("topology.sockets", &raw.topology.sockets)?,
        llcs_per_socket: s.count("topology.llcs_per_socket", &raw.topology.llcs_per_socket)?,
        cores_per_llc: s.count("topology.cores_per_llc", &raw.topology.cores_per_llc)?,
        threads_per_core: s.count("topology.threads_per_core", &raw.topology.threads_per_core)?,
    };
    if shape.clusters() > 64 || shape.cores() > 512 {
        return Err(s.error(
            "topology",
            &raw.topology.sockets,
            &format!(
                "{} last-level caches and {} cores (allowed: 1 to 64 and 1 to 512)",
                shape.clusters(),
                shape.cores()
            ),
        ));
    }
    let l1 = s.cache("l1", &raw.l1.bytes, &raw.l1.ways, &raw.l1.latency_ns)?;
    let l2 = s.cache("l2", &raw.l2.bytes, &raw.l2.ways, &raw.l2.latency_ns)?;
    let llc = s.cache("llc", &raw.llc.bytes, &raw.llc.ways, &raw.llc.latency_ns)?;
    let issue = s.latency("l1.issue_ns", &raw.l1.issue_ns)?;
    s.ordered(
        ("l1.issue_ns", issue),
        ("l1.latency_ns", l1.latency),
        &raw.l1.issue_ns,
    )?;
    s.ordered(
        ("l1.latency_ns", l1.latency),
        ("l2.latency_ns", l2.latency),
        &raw.l1.latency_ns,
    )?;
    s.ordered(
        ("l2.latency_ns", l2.latency),
        ("llc.latency_ns", llc.latency),
        &raw.l2.latency_ns,
    )?;
    if raw.l1.bytes.get_ref() > raw.l2.bytes.get_ref() {
        return Err(s.error(
            "l1.bytes",
            &raw.l1.bytes,
            &format!(
                "contradicts l2.bytes (allowed: up to {})",
                raw.l2.bytes.get_ref()
            ),
        ));
    }

    let t = &raw.transfer;
    let same_llc = s.latency("transfer.same_llc_ns", &t.same_llc_ns)?;
    let same_llc_clean = s.latency("transfer.same_llc_clean_ns", &t.same_llc_clean_ns)?;
    let other = |key: &str, value: &Option<Number>| {
        s.distance(
            key,
            value,
            shape.llcs_per_socket > 1,
            &raw.topology.llcs_per_socket,
            "topology.llcs_per_socket",
        )
    };
    let remote = |key: &str, value: &Option<Number>| {
        s.distance(
            key,
            value,
            shape.sockets > 1,
            &raw.topology.sockets,
            "topology.sockets",
        )
    };
    let other_llc = other("transfer.other_llc_ns", &t.other_llc_ns)?;
    let other_llc_clean = other("transfer.other_llc_clean_ns", &t.other_llc_clean_ns)?;
    let other_socket = remote("transfer.other_socket_ns", &t.other_socket_ns)?;
    let other_socket_clean = remote("transfer.other_socket_clean_ns", &t.other_socket_clean_ns)?;
    let memory_remote = remote("memory.remote_latency_ns", &raw.memory.remote_latency_ns)?;
    for (key, far, at) in [
        ("transfer.other_llc_ns", other_llc, &t.other_llc_ns),
        ("transfer.other_socket_ns", other_socket, &t.other_socket_ns),
    ] {
        if let (Some(far), Some(at)) = (far, at) {
            s.ordered(("transfer.same_llc_ns", same_llc), (key, far), at)?;
        }
    }
    let request = s.latency("transfer.request_ns", &t.request_ns)?;
    if request == 0 {
        return Err(s.error(
            "transfer.request_ns",
            &t.request_ns,
            "0 leaves no lookahead (allowed: 0.1 up to llc.latency_ns)",
        ));
    }
    // The answer takes as long as the request at least.
    for (key, bound) in [
        ("half of llc.latency_ns", llc.latency),
        ("half of transfer.same_llc_ns", same_llc),
        ("half of transfer.same_llc_clean_ns", same_llc_clean),
    ] {
        let half = (key, bound / 2);
        s.ordered(("transfer.request_ns", request), half, &t.request_ns)?;
    }

    let smt_slowdown = match (&raw.smt, shape.threads_per_core) {
        (Some(smt), 2) => s.number("smt.slowdown", &smt.slowdown)?,
        (None, 1) => 1.0,
        (Some(smt), _) => {
            return Err(s.error(
                "smt.slowdown",
                &smt.slowdown,
                "contradicts topology.threads_per_core = 1; delete [smt]",
            ));
        }
        (None, _) => {
            return Err(s.error(
                "smt.slowdown",
                &raw.topology.threads_per_core,
                "missing, and topology.threads_per_core = 2 needs it (allowed: 1 to 4)",
            ));
        }
    };

    let share = |key: &str, raw: &Option<RawShare>| -> Result<Option<f64>> {
        raw.as_ref()
            .map(|raw| s.number(key, &raw.share))
            .transpose()
    };
    let p = &raw.prefetch;
    let prefetchers = Prefetchers {
        adjacent_line: p
            .adjacent_line
            .as_ref()
            .map(|raw| {
                Ok::<_, Error>(AdjacentLine {
                    ownership: raw.ownership,
                    share: s.number("prefetch.adjacent_line.share", &raw.share)?,
                })
            })
            .transpose()?,
        up_down: share("prefetch.up_down.share", &p.up_down)?,
        next_line: share("prefetch.next_line.share", &p.next_line)?,
        streamer: p
            .streamer
            .as_ref()
            .map(|raw| s.count("prefetch.streamer.distance", &raw.distance))
            .transpose()?
            .map(|distance| distance as u32),
    };

    let out_of_order = match &raw.out_of_order {
        None => None,
        Some(raw) => Some(OutOfOrder {
            window: s.window(&raw.window_ns, issue)?,
            retire: s.latency("out_of_order.retire_ns", &raw.retire_ns)?,
            node: s.latency("out_of_order.node_ns", &raw.node_ns)?,
            step: s.latency("out_of_order.step_ns", &raw.step_ns)?,
            branch_miss: s.latency("out_of_order.branch_miss_ns", &raw.branch_miss_ns)?,
            misses_at_once: s.count("out_of_order.misses_at_once", &raw.misses_at_once)?,
        }),
    };

    let matrix = match &t.matrix {
        None => Vec::new(),
        Some(path) => matrix(s, path, folder, &shape)?,
    };
    Ok(Machine {
        name: raw.name,
        description: raw.description,
        protocol: s.word("protocol", &raw.protocol)?,
        l1,
        issue,
        l2,
        l2_inclusive: raw.l2.inclusive,
        llc,
        llc_policy: s.word("llc.policy", &raw.llc.policy)?,
        llc_occupancy: s.latency("llc.occupancy_ns", &raw.llc.occupancy_ns)?,
        memory: s.latency("memory.latency_ns", &raw.memory.latency_ns)?,
        memory_remote: memory_remote.unwrap_or(0),
        transfers: Transfers {
            dirty: [
                l1.latency,
                same_llc,
                other_llc.unwrap_or(0),
                other_socket.unwrap_or(0),
            ],
            clean: [
                l1.latency,
                same_llc_clean,
                other_llc_clean.unwrap_or(0),
                other_socket_clean.unwrap_or(0),
            ],
            upgrade: s.latency("transfer.upgrade_ns", &t.upgrade_ns)?,
            request_share: match &t.request_share {
                Some(share) => s.number("transfer.request_share", share)?,
                None => 0.0,
            },
            migratory: t.migratory,
            matrix,
        },
        request,
        rmw: s.latency("atomic.rmw_ns", &raw.atomic.rmw_ns)?,
        out_of_order,
        fence: s.latency("atomic.fence_ns", &raw.atomic.fence_ns)?,
        pause: s.latency("atomic.pause_ns", &raw.atomic.pause_ns)?,
        keep: s.latency("arbitration.keep_ns", &raw.arbitration.keep_ns)?,
        hold_share: match &raw.arbitration.hold_share {
            Some(share) => s.number("arbitration.hold_share", share)?,
            None => 0.0,
        },
        far_limit: s.count("arbitration.far_limit", &raw.arbitration.far_limit)? as u32,
        store_buffer: s.count("store_buffer.entries", &raw.store_buffer.entries)?,
        smt_slowdown,
        work_jitter: s.number("work.jitter", &raw.work.jitter)?,
        work_scale: s.number("work.scale", &raw.work.scale)?,
        prefetchers,
        shape,
    })
}

/// A measured matrix: CSV without a header, lower triangle, one-way latencies in nanoseconds, one
/// row a core or one row a CPU (of which the first of every core is used).
fn matrix(
    s: &Source<'_>,
    path: &Spanned<String>,
    folder: Option<&Path>,
    shape: &Shape,
) -> Result<Vec<u32>> {
    const KEY: &str = "transfer.matrix";
    let bad = |what: String| s.error(KEY, path, &what);
    let file = folder
        .unwrap_or(Path::new("."))
        .join(path.get_ref().as_str());
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
