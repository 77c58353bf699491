//! The machine file: every constant with how it was measured, or why not and what was assumed.
//!
//! Here: from windows to constants. Not here: how a line is written (`text`), reading such a file,
//! and what the constants mean (`sim::machine`).

use super::duo::NEIGHBOURS;
use super::findings::{Findings, Link};
use super::geometry::{CacheGeometry, Geometry};
use super::solo::{USUAL_L1, USUAL_L2, USUAL_LLC, Window};
use super::text::{Figure, LATENCY, Text, ns, quoted};
use crate::machine::transfer::Mode;
use crate::machine::{Distance, Vendor};
use crate::space::LINE;
use crate::stats::Spread;
use crate::units;

/// Most ways that a machine file may give a first-level cache, and any other.
const MOST_WAYS: [usize; 3] = [16, 32, 32];
/// Values are rounded to this many ns; what must be below something else stays clear of it.
const ROUNDING: f64 = 0.002;
/// A private line this much slower beside a contended one than far from it is taken along.
const INTERFERES: f64 = 1.1;

/// What the file says about the machine that was not measured.
#[derive(Clone, Debug)]
pub struct About {
    /// Name of the machine in the CSV.
    pub name: String,
    /// One line about it.
    pub description: String,
    /// Who made the CPU, if known.
    pub vendor: Option<Vendor>,
}

impl Findings {
    /// The machine file.
    pub fn to_toml(&self, about: &About) -> String {
        let mut text = Text(String::new());
        self.head(&mut text, about);
        topology(&mut text, &self.geometry);
        let [issue, l1, l2, llc] = self.latencies();
        self.caches(&mut text, &issue, &l1, &l2, &llc);
        self.memory(&mut text, &llc);
        self.out_of_order(&mut text, issue.value, about.vendor);
        let same = self.transfers(&mut text, &l1, &llc);
        self.atomics(&mut text);
        self.arbitration(&mut text, same);
        text.table("store_buffer");
        let entries = match about.vendor {
            Some(Vendor::Intel) => (56, "Intel Optimization Manual: 56 since Skylake"),
            _ => (64, "AMD Software Optimization Guide, family 19h: 64"),
        };
        text.key(
            "entries",
            entries.0,
            format_args!("not measured; {}", entries.1),
        );
        self.smt(&mut text);
        self.work(&mut text);
        self.prefetchers(&mut text, about.vendor, l2.value);
        text.0
    }

    fn head(&self, text: &mut Text, about: &About) {
        let bytes = |bytes: usize| units::bytes(bytes as u64);
        text.line(format_args!(
            "# Measured by `hitm probe --calibrate` in {:.0} s, CPU {} alone and one pair of CPUs of each\n\
             # distance, in short windows taken in turn; figures are medians. Latencies were taken over\n\
             # {} (L1), {} (L2), {} (LLC) and {} (DRAM) in random order.",
            self.seconds,
            self.cpu,
            bytes(self.sets.l1),
            bytes(self.sets.l2),
            bytes(self.sets.llc),
            bytes(self.sets.memory),
        ));
        let shared = self.disturbed_share();
        if shared > 0.0 {
            text.line(format_args!(
                "# In {:.0} % of the windows a core was slower by a third or more, as beside a working SMT sibling\n\
                 # that this system need not know of; these do not count.",
                100.0 * shared
            ));
        }
        for levelled in &self.geometry.levelled {
            text.line(format_args!("# Levelled: {levelled}."));
        }
        text.key("name", quoted(&about.name), "the name of the file");
        text.key(
            "description",
            quoted(&about.description),
            "as `hitm probe` shows it",
        );
        let (protocol, why) = match about.vendor {
            Some(Vendor::Amd) => ("moesi", "not measured: AMD"),
            Some(Vendor::Intel) => ("mesif", "not measured: Intel"),
            _ if cfg!(target_arch = "aarch64") => {
                ("moesi", "not measured: CHI has a shared-dirty state")
            }
            _ => ("mesi", "not measured: a vendor not known here"),
        };
        text.key("protocol", quoted(protocol), why);
    }

    /// Issue, L1, L2, LLC: in the order that the model wants them to rise in.
    fn latencies(&self) -> [Figure; 4] {
        let of = |windows: &[Window]| self.estimate(windows);
        let risen = |figure: Figure, from: f64| {
            figure.within(
                from,
                LATENCY[1],
                "no level is faster than the one before it",
            )
        };
        let issue = Figure::measured_or(
            of(&self.solo.issue),
            "a load, a comparison and a branch not taken; many that do not wait for each other",
            0.25,
            "kept from its CPU; one load a cycle at 4 GHz",
        );
        let issue = risen(issue, LATENCY[0]);
        let chased = |values: &[Window], usual: f64| {
            let how = "kept from its CPU; as on Zen 4";
            Figure::measured_or(of(values), "random pointer chase", usual, how)
        };
        // Zen 4: 4, 14 and 56 cycles at 3.7 GHz (InstLatX64).
        let l1 = risen(chased(&self.solo.l1, 1.08), issue.value);
        let l2 = risen(chased(&self.solo.l2, 3.78), l1.value);
        let llc = risen(chased(&self.solo.llc, 15.14), l2.value);
        [issue, l1, l2, llc]
    }

    fn caches(&self, text: &mut Text, issue: &Figure, l1: &Figure, l2: &Figure, llc: &Figure) {
        let g = &self.geometry;
        text.table("l1");
        size(text, &g.l1, 0, USUAL_L1);
        text.figure("latency_ns", l1);
        text.figure("issue_ns", issue);
        let of = |windows: &[Window]| self.estimate(windows);
        text.note(
            "a plain store, which the model charges issue_ns for",
            of(&self.solo.store),
        );
        text.note(
            "a store and the load that reads it back, in a chain",
            of(&self.solo.forward),
        );
        text.table("l2");
        size(text, &g.l2, 1, USUAL_L2);
        text.figure("latency_ns", l2);
        let inclusive = g.l2.and_then(|cache| cache.inclusive);
        let how = match inclusive {
            Some(_) => "hwloc",
            None => "not measured: hwloc does not know; assumed",
        };
        text.key("inclusive", inclusive.unwrap_or(true), how);
        text.table("llc");
        size(text, &g.llc, 2, USUAL_LLC);
        text.figure("latency_ns", llc);
        let (policy, how) = match g.llc.and_then(|cache| cache.inclusive) {
            Some(true) => ("inclusive", "hwloc: inclusive"),
            Some(false) => (
                "victim",
                "hwloc: not inclusive; that it is a victim cache is assumed",
            ),
            None => ("victim", "not measured: hwloc does not know; assumed"),
        };
        text.key("policy", quoted(policy), how);
        text.figure(
            "occupancy_ns",
            &Figure::assumed(2.0, "a slice answers every few cycles of its own clock"),
        );
    }

    fn memory(&self, text: &mut Text, llc: &Figure) {
        text.table("memory");
        let what = match self.geometry.llc {
            Some(cache) if self.sets.memory < 2 * cache.bytes => {
                "random pointer chase, in part in the last-level cache"
            }
            _ => "random pointer chase, one line of every pair",
        };
        let measured = self.estimate(&self.solo.memory);
        let memory = Figure::measured_or(measured, what, 100.0, "kept from its CPU").within(
            llc.value,
            LATENCY[1],
            "no level is faster than the one before it",
        );
        text.figure("latency_ns", &memory);
        if self.geometry.sockets > 1 {
            text.figure(
                "remote_latency_ns",
                &Figure::assumed(
                    memory.value * 1.6,
                    "1.6 of latency_ns, as on Broadwell-EP (140 to 90)",
                ),
            );
        }
    }

    /// The pair that stands for a distance of the model.
    fn link(&self, distance: Distance) -> Option<&Link> {
        let g = &self.geometry;
        self.links.iter().find(|link| {
            let found = link.pair.distance;
            // Cores that share no known cache are a cluster of the model.
            let alone = distance == Distance::SameLlc && g.llcs_per_socket == 1;
            found == distance || alone && found == Distance::OtherLlc
        })
    }

    /// The nearest pair of two cores.
    pub fn nearest(&self) -> Option<&Link> {
        let cores = |link: &&Link| link.pair.distance != Distance::SmtSibling;
        self.links.iter().find(cores)
    }

    fn dirty(&self, distance: Distance) -> Option<Figure> {
        let link = self.link(distance)?;
        let [a, b] = link.pair.cpus;
        let what = format!("CPU {a} loads what CPU {b} has modified");
        Figure::measured(link.estimate(|round| round.lines.dirty_read), &what)
    }

    fn clean(&self, distance: Distance, dirty: f64) -> Figure {
        let measured = self.link(distance).and_then(|link| {
            let clean = link.rounds().filter_map(|r| r.lines.clean_read);
            let [a, b] = link.pair.cpus;
            let what = format!("CPU {a} loads what CPU {b} alone holds, unmodified");
            Figure::measured(Spread::of(clean), &what)
        });
        measured.unwrap_or_else(|| {
            Figure::assumed(dirty * 0.9, "0.9 of the dirty one, as TMA has it for Intel")
        })
    }

    /// Dirty transfers of the distances this machine has; those it could not measure are assumed
    /// from the nearest.
    fn dirty_or_assumed(&self, llc: f64) -> [Figure; 3] {
        let assumed = |value, how: &str| {
            Figure::assumed(
                value,
                format!("no two CPUs of this distance are free to this process; {how}"),
            )
        };
        let within = |figure: Figure, low| {
            figure.within(low, LATENCY[1], "nothing is nearer than the same LLC")
        };
        let same = self
            .dirty(Distance::SameLlc)
            .unwrap_or_else(|| assumed(llc * 1.5, "1.5 of an LLC hit, as on Zen 4 (23 to 15)"));
        let same = within(same, LATENCY[0]);
        let other = self.dirty(Distance::OtherLlc).unwrap_or_else(|| {
            assumed(
                same.value * 4.3,
                "4.3 of same_llc_ns, as on Zen 4 (100 to 23)",
            )
        });
        let socket = self.dirty(Distance::OtherPackage).unwrap_or_else(|| {
            assumed(
                same.value * 2.7,
                "2.7 of same_llc_ns, as on Broadwell-EP (118 to 43.5)",
            )
        });
        let (other, socket) = (within(other, same.value), within(socket, same.value));
        [same, other, socket]
    }

    /// The table; returned is `same_llc_ns`.
    fn transfers(&self, text: &mut Text, l1: &Figure, llc: &Figure) -> f64 {
        let g = &self.geometry;
        text.table("transfer");
        for link in &self.links {
            self.modes(text, link);
        }
        let [same, other, socket] = self.dirty_or_assumed(llc.value);
        let clean = self.clean(Distance::SameLlc, same.value);
        let clean = clean.within(
            l1.value,
            LATENCY[1],
            "no cache of another core is nearer than L1",
        );
        // The model's request is half of everything at most.
        let most = llc.value.min(same.value).min(clean.value) / 2.0 - ROUNDING;
        let request = Figure::assumed(most * 0.8, "somewhat less than half of an LLC hit").within(
            LATENCY[0],
            most,
            "the model wants at most half of an LLC hit and of any transfer",
        );
        text.figure("request_ns", &request);
        let share = self
            .request_share(same.value)
            .unwrap_or_else(|| Figure::assumed(0.5, "half of the way"))
            .within(0.0, 0.9, "the answer takes some time");
        text.figure("request_share", &share);
        let upgrades = self.nearest().and_then(|link| {
            let rounds = link.rounds();
            Spread::of(rounds.filter_map(|r| r.lines.upgrade))
        });
        let what = "a read-modify-write on what both hold, unmodified";
        let upgrade = Figure::measured_or(upgrades, what, llc.value, "as an LLC hit").within(
            LATENCY[0],
            LATENCY[1],
            "no time is negative",
        );
        text.figure("upgrade_ns", &upgrade);
        let (migratory, how) = self.migratory(same.value);
        text.key("migratory", migratory, how);
        text.figure("same_llc_ns", &same);
        text.figure("same_llc_clean_ns", &clean);
        if g.llcs_per_socket > 1 {
            text.figure("other_llc_ns", &other);
            text.figure(
                "other_llc_clean_ns",
                &self.clean(Distance::OtherLlc, other.value),
            );
        }
        if g.sockets > 1 {
            text.figure("other_socket_ns", &socket);
            text.figure(
                "other_socket_clean_ns",
                &self.clean(Distance::OtherPackage, socket.value),
            );
        }
        for link in &self.links {
            hand_over(text, link);
        }
        same.value
    }

    /// Whether a load takes what another core has modified with ownership: then a
    /// read-modify-write right after it needs nobody, and the other has to fetch the line again.
    fn migratory(&self, transfer: f64) -> (bool, String) {
        let link = self.nearest();
        let own = link.and_then(|link| link.estimate(|r| r.lines.own_after_read));
        let reread = link.and_then(|link| link.estimate(|r| r.lines.reread));
        match own.zip(reread) {
            Some((own, reread)) => (
                own.median < transfer / 2.0 && reread.median > transfer / 2.0,
                format!(
                    "measured: after a load of what the other has modified a read-modify-write takes {} ns, and a load by the other {} ns",
                    ns(own.median),
                    ns(reread.median)
                ),
            ),
            None => (
                false,
                "not measured: needs two cores that are free to this process".to_owned(),
            ),
        }
    }

    fn modes(&self, text: &mut Text, link: &Link) {
        let [a, b] = link.pair.cpus;
        let mode = |m: &Mode| format!("{:.1} ns ({:.0} %)", m.ns, 100.0 * m.share);
        let others: Vec<String> = link
            .modes
            .iter()
            .filter(|m| **m != link.mode)
            .map(mode)
            .collect();
        let others = match others.len() {
            0 => "no other was seen".to_owned(),
            _ => format!("not used: {}", others.join(", ")),
        };
        text.line(format_args!(
            "# CPUs {a} and {b} ({}): the ring of `hitm probe` was at {} in most rounds, and only these\n# count; {others}.",
            link.pair.distance.name(),
            mode(&link.mode),
        ));
    }

    /// What of a transfer passes before the request is put in order: the part that a request which
    /// finds the line taken has behind it when its turn comes; as a share. From the time that two CPUs take
    /// for a run of additions each: the rest of a transfer, and the run.
    fn request_share(&self, transfer: f64) -> Option<Figure> {
        let rmw = self.estimate(&self.solo.rmw)?.median;
        let hold = self.nearest()?.estimate(|r| r.add * r.run)?;
        let run = self.nearest()?.estimate(|r| r.run)?.median;
        Some(Figure {
            value: (transfer + run * rmw - hold.median) / transfer,
            how: format!(
                "measured: of a transfer and {:.1} additions in a row, {} ns, what passes beside the {} ns that a CPU's turn at a contended line takes",
                run,
                ns(transfer + run * rmw),
                ns(hold.median)
            ),
        })
    }

    /// How long a line stays grows with the way that it came, so what was measured at the nearest
    /// distance is written as a share of that way. It counts from the line's arrival and holds the
    /// access itself: at no distance nothing is left for `keep_ns`, which would only cut off the
    /// shorter half of the holds.
    fn arbitration(&self, text: &mut Text, transfer: f64) {
        text.table("arbitration");
        let rmw = self.estimate(&self.solo.rmw).map(|rmw| rmw.median);
        let run = self.nearest().and_then(|link| link.estimate(|r| r.run));
        let (hold, keep) = match rmw.zip(run) {
            Some((rmw, run)) => {
                let hold = Figure {
                    value: run.median * rmw / transfer,
                    how: format!(
                        "measured: {:.1} additions (5 to 95 %: {:.1} to {:.1}) by one CPU before the other gets the line, {} ns, over same_llc_ns",
                        run.median,
                        run.low,
                        run.high,
                        ns(run.median * rmw)
                    ),
                };
                (hold, "what a line stays for is in hold_share")
            }
            None => {
                let why = "needs two cores that are free to this process";
                (Figure::assumed(0.0, why), why)
            }
        };
        text.figure("keep_ns", &Figure::assumed(0.0, keep));
        let hold = hold.within(0.0, 0.9, "the model has 0.9 at most");
        text.figure("hold_share", &hold);
        text.key(
            "far_limit",
            16,
            "not measured: needs several clusters; assumed, as in the files of zen2 to zen5; broadwell-ep was calibrated to 2",
        );
    }

    fn smt(&self, text: &mut Text) {
        if self.geometry.threads_per_core < 2 {
            return;
        }
        text.table("smt");
        let both = |link: &Link| {
            let both = link.rounds().filter_map(|round| round.both_work);
            Spread::of(both)
        };
        let siblings = self.links.iter().find_map(both);
        let slowdown = Figure::measured_or(
            siblings,
            "local work while the sibling works, over alone",
            1.6,
            "no two siblings are free to this process; assumed",
        );
        text.figure(
            "slowdown",
            &slowdown.within(1.0, 4.0, "a sibling does not speed work up"),
        );
    }

    fn prefetchers(&self, text: &mut Text, vendor: Option<Vendor>, l2: f64) {
        let of = |windows: &[Window]| self.estimate(windows);
        // What the second line of a pair costs less than the first is what a prefetch brought.
        let saved = of(&self.solo.memory)
            .zip(of(&self.solo.pair))
            .map(|(first, second)| {
                let share = (first.median - second.median) / (first.median - l2);
                Figure {
                    value: share.clamp(0.0, 1.0),
                    how: format!(
                        "measured: the second line of a pair takes {} ns where the first took {}",
                        ns(second.median),
                        ns(first.median)
                    ),
                }
            })
            .unwrap_or_else(|| Figure::assumed(1.0, "kept from its CPU"));
        if vendor == Some(Vendor::Amd) {
            text.table("prefetch.up_down");
            text.figure("share", &saved);
        } else if vendor == Some(Vendor::Intel) {
            let beside = self.nearest().and_then(Link::interference);
            let [pair, other_side, ..] = beside.unwrap_or([1.0; NEIGHBOURS.len()]);
            let steals = pair > INTERFERES * other_side.max(1.0);
            text.table("prefetch.adjacent_line");
            let how = match beside {
                Some(_) => "measured: see the neighbours of a contended line above",
                None => "not measured: needs two cores that are free to this process",
            };
            text.key("ownership", steals, how);
            text.figure("share", &saved);
        }
        if matches!(vendor, Some(Vendor::Intel | Vendor::Amd)) {
            text.table("prefetch.streamer");
            text.key(
                "distance",
                2,
                "not measured: Intel Optimization Manual; AMD states none",
            );
        }
    }
}

impl Link {
    /// Time of an addition to a contended line and one to a private line beside it, by
    /// [`NEIGHBOURS`], over the time with the private line far away.
    fn interference(&self) -> Option<[f64; NEIGHBOURS.len()]> {
        let mut ratios = [1.0; NEIGHBOURS.len()];
        for (i, ratio) in ratios.iter_mut().enumerate() {
            *ratio = self
                .estimate(|r| r.beside[i] / r.beside[NEIGHBOURS.len() - 1])?
                .median;
        }
        Some(ratios)
    }
}

/// What the model has no constants for, of one pair.
fn hand_over(text: &mut Text, link: &Link) {
    let [a, b] = link.pair.cpus;
    text.line(format_args!("# Beside that, CPUs {a} and {b}:"));
    let own = link.estimate(|r| r.lines.dirty_own);
    text.note("a read-modify-write on what the other has modified", own);
    text.note(
        "an addition to a line that both add to",
        link.estimate(|r| r.add),
    );
    if let Some(ratios) = link.interference() {
        let each: Vec<String> = NEIGHBOURS
            .iter()
            .zip(ratios)
            .map(|(bytes, ratio)| format!("{bytes:+}: {ratio:.2}"))
            .collect();
        text.line(format_args!(
            "# a private line so many bytes beside a contended one, time over that of one far away: {}",
            each.join(", ")
        ));
    }
}

fn topology(text: &mut Text, g: &Geometry) {
    text.table("topology");
    for (key, count) in [
        ("sockets", g.sockets),
        ("llcs_per_socket", g.llcs_per_socket),
        ("cores_per_llc", g.cores_per_llc),
        ("threads_per_core", g.threads_per_core),
    ] {
        text.key(key, count, "hwloc");
    }
}

/// Size and ways of a cache; `level` from 0.
fn size(text: &mut Text, cache: &Option<CacheGeometry>, level: usize, usual: usize) {
    // Ways of Zen 4: 8, 8 and 16.
    let usual_ways = [8, 8, 16][level];
    let Some(cache) = cache else {
        let how = "not measured: hwloc knows none; a usual size";
        text.key("bytes", usual, how);
        text.key("ways", usual_ways, how);
        return;
    };
    text.key("bytes", cache.bytes, "hwloc");
    let known = cache.ways.unwrap_or(usual_ways);
    // The model's sets are all alike, and have 32 ways at most.
    let fits = |ways: &usize| cache.bytes.is_multiple_of(ways * LINE);
    let ways = (1..=known.min(MOST_WAYS[level]))
        .rev()
        .find(fits)
        .unwrap_or(1);
    let how = match cache.ways {
        Some(_) if ways == known => "hwloc".to_owned(),
        Some(_) => format!("hwloc says {known}, which the model cannot divide the size by"),
        None => "not measured: hwloc does not know; assumed".to_owned(),
    };
    text.key("ways", ways, how);
}
