//! One machine as the model sees it, in picoseconds and lines.

use super::topology::Shape;

/// Time in picoseconds: fine enough to add cycles of any clock without drift.
pub type Picos = u64;

/// Nanoseconds as picoseconds, rounded.
pub fn picos(nanos: f64) -> Picos {
    (nanos * 1000.0).round() as Picos
}

crate::text::words! {
    /// Which states the coherence protocol has.
    pub enum Protocol as "protocol" {
        /// Modified, Exclusive, Shared, Invalid.
        Mesi = "mesi",
        /// With Forward: one clean sharer answers reads (Intel).
        Mesif = "mesif",
        /// With Owned: a modified line is shared without being written back (AMD, ARM's CHI).
        Moesi = "moesi",
    }
}

crate::text::words! {
    /// What the last-level cache holds.
    pub enum LlcPolicy as "policy" {
        /// Everything its cores hold; evicting a line takes it from them as well.
        Inclusive = "inclusive",
        /// What its cores have evicted or written back.
        Victim = "victim",
    }
}

/// Size and latency of one set-associative cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSpec {
    /// Sets; need not be a power of two (a 14-slice LLC is not).
    pub sets: usize,
    /// Lines in a set.
    pub ways: usize,
    /// Load-to-use latency of a hit.
    pub latency: Picos,
}

/// Line-transfer latencies from another core's cache, by [`Distance`], as the requester sees them.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfers {
    /// The line is modified there: indexed by `Distance as usize`.
    pub dirty: [Picos; 4],
    /// The line is clean there, or is invalidated there: indexed by `Distance as usize`.
    pub clean: [Picos; 4],
    /// What of a transfer from another core has passed when the request is put in order at the
    /// line, if that is more than [`Machine::request`].
    pub request_share: f64,
    /// Ownership of a line that the core holds for reading, as others do.
    pub upgrade: Picos,
    /// Whether a load takes a line that another core has modified with ownership, instead of
    /// sharing it.
    pub migratory: bool,
    /// Measured dirty latencies between cores, `from * cores + to`; empty where only distances are
    /// known.
    pub matrix: Vec<u32>,
}

/// A core that executes out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfOrder {
    /// How far the front end runs ahead of the oldest access that is not done: what it takes to
    /// fill the reorder buffer.
    pub window: Picos,
    /// What an access adds to the time between two read-modify-writes: instructions retire in
    /// order, and a read-modify-write waits for its turn.
    pub retire: Picos,
    /// What searching a node of the tree takes beside its loads.
    pub node: Picos,
    /// The same, of one step of the search.
    pub step: Picos,
    /// From when the value that steers a branch is there to the first instruction of a way that
    /// was not expected.
    pub branch_miss: Picos,
    /// Misses of one thread that are under way at once.
    pub misses_at_once: usize,
}

/// Adjacent-line prefetcher: completes the 128-byte pair on an L2 fill.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdjacentLine {
    /// Whether it asks with ownership when an RFO triggered it.
    pub ownership: bool,
    /// Share of triggers that it acts on, 0 to 1.
    pub share: f64,
}

/// The prefetchers a machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prefetchers {
    /// Pair completion (Intel's L2 adjacent cache line prefetcher).
    pub adjacent_line: Option<AdjacentLine>,
    /// AMD's Up/Down: the next or the previous line; the share of triggers acted on.
    pub up_down: Option<f64>,
    /// The next line after a load that missed L1; the share of triggers acted on.
    pub next_line: Option<f64>,
    /// L2 streamer: how many lines ahead of a recognised stream it fetches.
    pub streamer: Option<u32>,
}

/// One machine, checked.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name in the CSV.
    pub name: String,
    /// What it is, in one line.
    pub description: String,
    /// Sockets, clusters, cores, SMT threads.
    pub shape: Shape,
    /// Coherence protocol.
    pub protocol: Protocol,
    /// L1 data cache of a core.
    pub l1: CacheSpec,
    /// What a load that hits L1 takes from the program: its latency overlaps with its neighbours.
    pub issue: Picos,
    /// L2 cache of a core.
    pub l2: CacheSpec,
    /// Whether what leaves L2 leaves L1 too.
    pub l2_inclusive: bool,
    /// Last-level cache of a cluster.
    pub llc: CacheSpec,
    /// What the last-level cache holds.
    pub llc_policy: LlcPolicy,
    /// How long the point of coherence is busy with a line that it can answer by itself.
    pub llc_occupancy: Picos,
    /// DRAM latency, own socket.
    pub memory: Picos,
    /// Latency of a line that only another socket's LLC holds clean.
    pub memory_remote: Picos,
    /// Latencies from other cores.
    pub transfers: Transfers,
    /// From the miss in a core to the point where requests for a line are put in order. No core
    /// can act on another in less: this is the lookahead.
    pub request: Picos,
    /// A locked read-modify-write on a line in L1.
    pub rmw: Picos,
    /// A full fence with an empty store buffer.
    pub fence: Picos,
    /// One turn of a spin-wait loop (`pause`).
    pub pause: Picos,
    /// How long a core keeps a line at least after its access completed.
    pub keep: Picos,
    /// How long a core holds a line at least from when it arrived, as a share of what it took to
    /// arrive: the point of coherence does not send the line on before it knows that it is there.
    pub hold_share: f64,
    /// Requests that a cluster serves of its own cores in a row while another cluster waits.
    pub far_limit: u32,
    /// Plain stores that may wait for their line.
    pub store_buffer: usize,
    /// How a core executes out of order; `None`: one access follows the other.
    pub out_of_order: Option<OutOfOrder>,
    /// Local work takes this much longer while the SMT sibling works too.
    pub smt_slowdown: f64,
    /// Local work varies by this fraction, uniformly up or down.
    pub work_jitter: f64,
    /// Local work takes this much longer than the time that was asked for.
    pub work_scale: f64,
    /// The prefetchers, as they are when switched on.
    pub prefetchers: Prefetchers,
}
