//! `hitm probe`: what this machine is and allows, and what a line transfer takes now.

use crate::calibrate;
use crate::counters;
use crate::error::{Error, Result};
use crate::machine::environment::Environment;
use crate::machine::pairs::{self, Pair};
use crate::machine::preflight::{self, Check};
use crate::machine::transfer::{Mode, modes};
use crate::machine::{CpuId, CpuModel, Distance, Placement, Topology, cpu_list};
use crate::prefetch;
use crate::report::columns::{Cell, Columns};
use crate::results::{folder_of, refuse_existing, write_whole};
use crate::sim::Machine;
use crate::stats::Spread;
use crate::units;
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `hitm probe`.
#[derive(clap::Args)]
pub struct Args {
    /// How long to measure, in seconds: line transfers of all pairs of CPUs together [default: 3],
    /// or everything that a machine file holds [default: 10]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,

    /// How to print what was found
    #[arg(long, value_enum, default_value = "table")]
    format: ProbeFormat,

    /// Measure this machine for the simulator, and write a machine file for `hitm sim --machine`
    #[arg(long, value_name = "FILE.toml", conflicts_with = "format")]
    calibrate: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ProbeFormat {
    /// Aligned, for reading
    Table,
    /// One object
    Json,
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let possible = Duration::from_millis(10)..=Duration::from_secs(3600);
    let seconds = units::parse_duration(text).ok();
    seconds
        .filter(|seconds| possible.contains(seconds))
        .ok_or_else(|| "give a number of seconds from 0.01 to 3600".to_owned())
}

/// How long line transfers are measured if nothing is said.
const TRANSFER_SECONDS: Duration = Duration::from_secs(3);
/// How long a calibration measures if nothing is said.
const CALIBRATION_SECONDS: Duration = Duration::from_secs(10);
/// A latency is taken over so long a window: as the probe before a sample.
const WINDOW: Duration = Duration::from_micros(200);

/// All that was found.
#[derive(Serialize)]
struct Probed {
    environment: Environment,
    placements: Vec<Room>,
    line_transfer: Vec<Transfer>,
    permitted: Vec<Check>,
}

/// What a placement has room for.
#[derive(Serialize)]
struct Room {
    placement: String,
    max_threads: usize,
    /// In the order threads get them.
    cpus: Vec<CpuId>,
    /// What the machine lacks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<&'static str>,
}

/// One-way latency of a line between two CPUs.
#[derive(Serialize)]
struct Transfer {
    cpus: [CpuId; 2],
    distance: Distance,
    windows: usize,
    #[serde(flatten)]
    quantiles: Option<Quantiles>,
    modes: Vec<Mode>,
}

#[derive(Serialize)]
struct Quantiles {
    median_ns: f64,
    p5_ns: f64,
    p95_ns: f64,
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    let topology = Topology::here()?;
    if let Some(path) = &args.calibrate {
        return calibrate(path, &topology, args.seconds.unwrap_or(CALIBRATION_SECONDS));
    }
    let probed = Probed {
        environment: Environment::record(&topology),
        placements: Placement::NAMED
            .map(|placed| room(&placed, &topology))
            .into(),
        line_transfer: measure(
            &pairs::pairs(&topology),
            args.seconds.unwrap_or(TRANSFER_SECONDS),
        )?,
        permitted: {
            let mut checks = preflight::checks(&topology);
            let beside = counters::preflight::permitted()?.into_iter();
            checks.splice(1..1, beside.chain([prefetch::check()]));
            checks
        },
    };
    super::print(&match args.format {
        ProbeFormat::Table => table(&probed),
        ProbeFormat::Json => super::json(&probed),
    })
}

/// Measure, check the file as `hitm sim` will, and write it where nothing is yet.
fn calibrate(path: &Path, topology: &Topology, seconds: Duration) -> Result<()> {
    refuse_unwritable(path)?;
    let origin = path.display().to_string();
    let about = about(path, topology);
    let geometry = calibrate::Geometry::here(topology)?;
    // What the simulator cannot hold is known before anything is measured.
    Machine::parse(
        &calibrate::Findings::nothing(geometry.clone()).to_toml(&about),
        &origin,
    )?;
    let text = calibrate::measure(topology, geometry, seconds)?.to_toml(&about);
    Machine::parse(&text, &origin)?;
    refuse_existing(path)?;
    write_whole(path, text.as_bytes())?;
    super::print(&format!(
        "{origin} is written; simulate this machine with: hitm sim --machine {origin}\n"
    ))
}

/// What the file says that no measurement does. Its name is the file's.
fn about(path: &Path, topology: &Topology) -> calibrate::About {
    let environment = Environment::record(topology);
    let model = environment.cpu.model_name;
    let guest = match environment.machine.guest_of() {
        None => String::new(),
        Some(name) => format!(", a guest of {name}"),
    };
    calibrate::About {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        description: format!(
            "{}, {}{guest}",
            model.as_deref().unwrap_or("a CPU without a name"),
            topology.summary()
        ),
        vendor: CpuModel::here().ok().map(|cpu| cpu.vendor),
    }
}

/// Refuse, before seconds are spent, a path that cannot become a machine file.
fn refuse_unwritable(path: &Path) -> Result<()> {
    let shown = path.display();
    if path.extension().is_none_or(|extension| extension != "toml") {
        return Err(Error::Input(format!(
            "'{shown}' does not end in .toml, by which `hitm sim --machine` tells a file from a \
             name; write --calibrate {shown}.toml"
        )));
    }
    refuse_existing(path)?;
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(Error::Input(format!(
            "{shown} cannot be written: there is no folder {}; make it, or name another",
            folder.display()
        )));
    }
    // Tried out as it will be written: a file beside it, then a rename.
    let trial = path.with_extension(format!("toml.{}.trial", std::process::id()));
    std::fs::File::create_new(&trial)
        .and_then(|_| std::fs::remove_file(&trial))
        .map_err(|why| {
            Error::Refused(format!(
                "{shown} cannot be written: {why}; name a file in a writable folder"
            ))
        })
}

fn room(placement: &Placement, topology: &Topology) -> Room {
    let cpus = placement.order(topology).unwrap_or_default();
    Room {
        placement: placement.to_string(),
        max_threads: cpus.len(),
        needs: cpus.is_empty().then(|| placement.needs()),
        cpus,
    }
}

fn measure(pairs: &[Pair], total: Duration) -> Result<Vec<Transfer>> {
    let each = total / pairs.len().max(1) as u32;
    pairs
        .iter()
        .map(|&pair| {
            let latencies_ns = pairs::measure(pair, each, WINDOW)?;
            let spread = Spread::of(latencies_ns.iter().copied());
            Ok(Transfer {
                cpus: pair.cpus,
                distance: pair.distance,
                windows: latencies_ns.len(),
                quantiles: spread.map(|spread| Quantiles {
                    median_ns: spread.median,
                    p5_ns: spread.low,
                    p95_ns: spread.high,
                }),
                modes: modes(&latencies_ns),
            })
        })
        .collect()
}

const HEADING: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Yellow.on_default();

fn table(probed: &Probed) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_machine(&mut out, &probed.environment);
    let _ = write_placements(&mut out, &probed.placements);
    let _ = write_transfers(&mut out, &probed.line_transfer);
    let _ = write_permitted(&mut out, &probed.permitted);
    out
}

fn write_machine(out: &mut String, environment: &Environment) -> std::fmt::Result {
    let cpu = &environment.cpu;
    let name = cpu.model_name.as_deref().unwrap_or("a CPU without a name");
    let numbers: Vec<String> = [
        ("family", cpu.family),
        ("model", cpu.model),
        ("stepping", cpu.stepping),
    ]
    .into_iter()
    .filter_map(|(what, number)| Some(format!("{what} {}", number?)))
    .collect();
    let machine = &environment.machine;
    let hypervisor = match machine.guest_of() {
        Some(name) => format!("a guest of {name}"),
        None if machine.hypervisor.is_some() => "bare metal".to_owned(),
        None => "hypervisor not known".to_owned(),
    };
    let kernel = &environment.kernel;
    writeln!(
        out,
        "{HEADING}{name}{HEADING:#}, {}, {hypervisor}",
        numbers.join(" ")
    )?;
    write!(out, "Linux {}", kernel.release)?;
    if let Some(vma) = &kernel.vm_area_struct {
        write!(out, ", vm_area_struct {} bytes", vma.bytes)?;
        if let (Some(objects), Some(pages)) = (vma.objects_per_slab, vma.pages_per_slab) {
            let pages = units::count(pages as usize, "page");
            write!(out, ", {objects} in a slab of {pages}")?;
        }
    }
    let topology = &environment.topology;
    writeln!(
        out,
        "\n\n{HEADING}Topology{HEADING:#}  {}",
        topology.summary
    )?;
    for row in topology_rows(&topology.topology) {
        writeln!(out, "  {row}")?;
    }
    if !topology.topology.offline.is_empty() {
        let offline = cpu_list::format(topology.topology.offline.iter().copied());
        writeln!(out, "  {BAD}offline{BAD:#}: {offline}")?;
    }
    Ok(())
}

/// One line for the CPUs of each kind below one last-level cache.
fn topology_rows(topology: &Topology) -> Vec<String> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for cpu in &topology.cpus {
        let key = (cpu.package, cpu.llc, cpu.node, cpu.kind);
        groups.entry(key).or_default().push(cpu);
    }
    groups
        .into_iter()
        .map(|((package, llc, node, kind), cpus)| {
            let mut row = format!("socket {package}");
            if let Some(node) = node {
                let _ = write!(row, "  node {node}");
            }
            if let Some(llc) = llc {
                let cache = &topology.llcs[llc];
                let size = cache.bytes.map(|bytes| units::bytes(bytes) + " ");
                let size = size.unwrap_or_default();
                let _ = write!(row, "  LLC {llc:<3} ({size}L{})", cache.level);
            }
            let mut ids: Vec<CpuId> = cpus.iter().map(|cpu| cpu.id).collect();
            ids.sort_unstable();
            let cores = cpus.iter().filter(|cpu| cpu.smt_rank == 0).count();
            let _ = write!(row, "  {cores:>3} cores  CPUs {}", cpu_list::format(ids));
            if topology.is_hybrid() {
                let _ = write!(row, "  {}", topology.kinds[kind]);
            }
            let forbidden = cpus.iter().filter(|cpu| !cpu.allowed);
            let mut forbidden: Vec<CpuId> = forbidden.map(|cpu| cpu.id).collect();
            if !forbidden.is_empty() {
                forbidden.sort_unstable();
                let _ = write!(
                    row,
                    "  {BAD}not allowed{BAD:#}: {}",
                    cpu_list::format(forbidden)
                );
            }
            row
        })
        .collect()
}

/// So many CPUs of a placement are shown.
const SHOWN_CPUS: usize = 8;

fn write_placements(out: &mut String, rooms: &[Room]) -> std::fmt::Result {
    let mut table = Columns::new("<><");
    table.row([
        Cell::styled("Placements", HEADING),
        "max threads".into(),
        "on CPUs, in this order".into(),
    ]);
    for room in rooms {
        let name = format!("  {}", room.placement);
        if let Some(needs) = room.needs {
            table.styled(FAINT, [name, "-".to_owned(), format!("needs {needs}")]);
            continue;
        }
        let first = room.cpus.iter().take(SHOWN_CPUS).map(CpuId::to_string);
        let mut cpus = first.collect::<Vec<_>>().join(", ");
        if room.cpus.len() > SHOWN_CPUS {
            cpus += ", …";
        }
        table.row([name, room.max_threads.to_string(), cpus]);
    }
    write!(out, "\n{table}")
}

fn write_transfers(out: &mut String, transfers: &[Transfer]) -> std::fmt::Result {
    writeln!(
        out,
        "\n{HEADING}Line transfer{HEADING:#}, one way, over windows of 200 µs"
    )?;
    if transfers.is_empty() {
        writeln!(out, "  {FAINT}needs two CPUs this process may use{FAINT:#}")?;
        return Ok(());
    }
    let mut table = Columns::new("<<>><");
    let heading = ["  CPUs", "distance", "median", "5 % to 95 %", "modes"];
    table.styled(FAINT, heading);
    for transfer in transfers {
        let [a, b] = transfer.cpus;
        let (pair, distance) = (format!("  {a} {b}"), transfer.distance.name());
        let Some(q) = &transfer.quantiles else {
            let kept = Cell::styled("kept from its CPUs", BAD);
            table.row([pair.into(), distance.into(), kept]);
            continue;
        };
        let modes: Vec<String> = transfer
            .modes
            .iter()
            .map(|mode| format!("{:.1} ns {:.0} %", mode.ns, 100.0 * mode.share))
            .collect();
        table.row([
            pair,
            distance.to_owned(),
            format!("{:.1} ns", q.median_ns),
            format!("{:.1} to {:.1}", q.p5_ns, q.p95_ns),
            modes.join(", "),
        ]);
    }
    write!(out, "{table}")?;
    let is_split = |modes: &[Mode]| modes.iter().filter(|mode| mode.is_notable()).count() > 1;
    if transfers.iter().any(|transfer| is_split(&transfer.modes)) {
        writeln!(
            out,
            "  {BAD}Several modes{BAD:#}: the hypervisor or a frequency governor moves these CPUs \
             between states;\n  `hitm run` takes the latency before every sample and marks \
             blocks that mix modes."
        )?;
    }
    Ok(())
}

fn write_permitted(out: &mut String, checks: &[Check]) -> std::fmt::Result {
    let mut table = Columns::new("<<<");
    for check in checks {
        let (style, word) = match check.granted {
            true => (GOOD, "  yes"),
            false => (BAD, "  no"),
        };
        let word = Cell::styled(word, style);
        table.row([word, check.what.into(), check.found.as_str().into()]);
        if let Some(remedy) = &check.remedy {
            table.styled(FAINT, ["", "", &format!("→ {remedy}")]);
        }
    }
    write!(out, "\n{HEADING}Permitted{HEADING:#}\n{table}")
}
