//! `hitm prefetch`: how the prefetchers stand, switching them, putting them back.

use super::options::Format;
use super::print;
use crate::error::{Error, Result};
use crate::machine::CpuId;
use crate::prefetch::{
    Control, CpuModel, Options, Place, Prefetcher, Reading, Restored, State, Vendor, Which,
    cpulist, leftover, restore,
};
use crate::results::RegisterSettings;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Arguments of `hitm prefetch`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Which prefetchers each CPU has, and which are on
    Status {
        #[command(flatten)]
        registers: RegisterArgs,
        /// Form of the output
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Switch prefetchers off, until `restore`
    Off(SwitchArgs),
    /// Switch prefetchers on, until `restore`
    On(SwitchArgs),
    /// Put every register back to what it held before the first `off` or `on`
    Restore(PlaceArgs),
}

#[derive(clap::Args)]
struct SwitchArgs {
    /// adjacent, streamer, dcu, dcu-ip (Intel); up-down, streamer, l1-stream, l1-stride,
    /// l1-region (AMD); or all that the core has
    #[arg(long, default_value = "all")]
    which: String,
    #[command(flatten)]
    registers: RegisterArgs,
}

/// Which registers are meant; shared by every command that switches prefetchers.
#[derive(clap::Args)]
pub struct RegisterArgs {
    /// CPUs, as in 0-3,8 [default: all]
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Use registers that the vendor does not document, too
    #[arg(long)]
    unsafe_msr: bool,
}

#[derive(clap::Args)]
struct PlaceArgs {
    /// A folder shaped like /dev/cpu, used instead of this machine's registers
    #[arg(long, value_name = "DIR")]
    msr_root: Option<PathBuf>,
    /// Vendor of the CPUs in that folder (`restore` needs neither this nor the model)
    #[arg(long, value_enum, requires = "msr_root")]
    vendor: Option<Vendor>,
    /// CPUID family and model of those CPUs, as in 6:0x4f [default: a current server]
    #[arg(long, value_name = "FAMILY:MODEL", requires = "vendor")]
    model: Option<String>,
}

impl From<&RegisterArgs> for RegisterSettings {
    fn from(args: &RegisterArgs) -> RegisterSettings {
        RegisterSettings {
            cpus: args.cpus.clone(),
            msr_root: args.place.msr_root.clone(),
            vendor: args.place.vendor,
            model: args.place.model.clone(),
            unsafe_msr: args.unsafe_msr,
        }
    }
}

impl From<&RegisterSettings> for RegisterArgs {
    fn from(recorded: &RegisterSettings) -> RegisterArgs {
        RegisterArgs {
            cpus: recorded.cpus.clone(),
            place: PlaceArgs {
                msr_root: recorded.msr_root.clone(),
                vendor: recorded.vendor,
                model: recorded.model.clone(),
            },
            unsafe_msr: recorded.unsafe_msr,
        }
    }
}

impl PlaceArgs {
    fn place(&self) -> Result<Place> {
        match &self.msr_root {
            None => Ok(Place::machine()),
            Some(root) => Place::folder(root),
        }
    }
}

impl RegisterArgs {
    /// What [`Control::open`] needs.
    pub fn options(&self) -> Result<Options> {
        let place = &self.place;
        let model = place.model.as_deref().map(family_and_model).transpose()?;
        let described = match (&place.msr_root, place.vendor) {
            (None, _) => None,
            (Some(_), Some(vendor)) => Some(CpuModel::described(vendor, model)),
            (Some(_), None) => {
                return Err(Error::Input(
                    "--msr-root needs --vendor intel or amd: the files do not tell whose \
                     registers they are"
                        .into(),
                ));
            }
        };
        Ok(Options {
            place: place.place()?,
            described,
            cpus: self.cpus.as_deref().map(cpulist::parse).transpose()?,
            unsafe_msr: self.unsafe_msr,
        })
    }
}

fn family_and_model(text: &str) -> Result<(u8, u8)> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    text.split_once(':')
        .and_then(|(family, model)| Some((number(family)?, number(model)?)))
        .ok_or_else(|| {
            Error::Input(format!(
                "unusable --model '{text}'; write CPUID family and model, as in 6:0x4f"
            ))
        })
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    match args.action {
        Action::Status { registers, format } => status(&registers, format),
        Action::Off(args) => switch(&args, State::Off),
        Action::On(args) => switch(&args, State::On),
        Action::Restore(args) => put_back(&args.place()?),
    }
}

fn switch(args: &SwitchArgs, state: State) -> Result<()> {
    let which: Which = args.which.parse()?;
    let control = Control::open(&args.registers.options()?)?;
    if let Some(note) = control.place().taint_note() {
        eprintln!("hitm: note: {note}");
    }
    let applied = control.apply(which, state)?;
    if !applied.without.is_empty() {
        eprintln!(
            "hitm: note: CPUs {} have no such prefetcher and were left alone",
            applied.without
        );
    }
    let written = match applied.written {
        0 => "they were so already".to_owned(),
        _ => "`hitm prefetch restore` puts them back".to_owned(),
    };
    print(&format!(
        "prefetchers ({which}) of CPUs {} are {state}; {written}\n",
        applied.cpus
    ))
}

fn put_back(place: &Place) -> Result<()> {
    let line = match restore(place)? {
        Restored::Nothing => "nothing to restore: no prefetcher is changed".to_owned(),
        Restored::AnotherBoot => "nothing to restore: the journal was of an earlier boot, and a \
                                  reboot resets these registers (kexec does not: see `hitm \
                                  prefetch status`)"
            .to_owned(),
        Restored::PutBack(cpus) => format!("prefetchers of CPUs {cpus} are as they were"),
    };
    print(&format!("{line}\n"))
}

fn status(args: &RegisterArgs, format: Format) -> Result<()> {
    let control = Control::open(&args.options()?)?;
    let readings = control.status()?;
    print(&match format {
        Format::Table => table(&control, &readings),
        Format::Csv => super::csv(&readings.iter().map(Row::from).collect::<Vec<_>>()),
        Format::Json => json(&control, &readings),
    })
}

/// A prefetcher a line, however many CPUs there are.
fn table(control: &Control, readings: &[Reading]) -> String {
    let mut rows = vec![["prefetcher", "register", "bit", "on", "off", "core"].map(String::from)];
    for prefetcher in Prefetcher::ALL {
        let mut cores: Vec<&str> = Vec::new();
        let of = readings.iter().filter(|r| r.bit.prefetcher == prefetcher);
        for reading in of.clone() {
            if !cores.contains(&reading.core.name) {
                cores.push(reading.core.name);
            }
        }
        for core in cores {
            let of = of.clone().filter(|r| r.core.name == core);
            let cpus = |state| {
                let cpus = of.clone().filter(|r| r.state() == state).map(|r| r.cpu);
                match cpulist::format(cpus) {
                    none if none.is_empty() => "-".to_owned(),
                    cpus => cpus,
                }
            };
            let bit = of.clone().next().map(|r| r.bit);
            let Some(bit) = bit else { continue };
            rows.push([
                prefetcher.to_string(),
                format!("{:#x}", bit.register),
                bit.bit.to_string(),
                cpus(State::On),
                cpus(State::Off),
                core.to_owned(),
            ]);
        }
    }
    let widths: [usize; 6] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    let mut values: BTreeMap<(u32, u64), Vec<CpuId>> = BTreeMap::new();
    for reading in readings {
        let cpus = values
            .entry((reading.bit.register, reading.value))
            .or_default();
        if cpus.last() != Some(&reading.cpu) {
            cpus.push(reading.cpu);
        }
    }
    text.push('\n');
    for ((register, value), cpus) in values {
        let cpus = cpulist::format(cpus);
        let _ = writeln!(text, "register {register:#x} = {value:#x} on CPUs {cpus}");
    }
    let place = control.place();
    let notes = [
        place.writes_forbidden(),
        place.taint_note().map(str::to_owned),
        place
            .holder()
            .map(|pid| format!("process {pid} has these registers under control")),
        leftover(place),
    ];
    for note in notes.into_iter().flatten() {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// A prefetcher of a CPU a row.
#[derive(serde::Serialize)]
struct Row<'a> {
    cpu: CpuId,
    core: &'a str,
    prefetcher: &'a str,
    register: String,
    bit: u8,
    value: String,
    state: State,
}

impl<'a> From<&'a Reading> for Row<'a> {
    fn from(reading: &'a Reading) -> Row<'a> {
        Row {
            cpu: reading.cpu,
            core: reading.core.name,
            prefetcher: reading.bit.prefetcher.name(),
            register: format!("{:#x}", reading.bit.register),
            bit: reading.bit.bit,
            value: format!("{:#x}", reading.value),
            state: reading.state(),
        }
    }
}

fn json(control: &Control, readings: &[Reading]) -> String {
    let model = control.model();
    let rows: Vec<Row> = readings.iter().map(Row::from).collect();
    let sources: BTreeMap<&str, &str> = readings
        .iter()
        .map(|reading| (reading.core.name, reading.core.source))
        .collect();
    let value = serde_json::json!({
        "vendor": model.vendor,
        "family": model.family,
        "model": model.model,
        "writes_forbidden": control.place().writes_forbidden(),
        "held_by": control.place().holder(),
        "left_changed": leftover(control.place()),
        "prefetchers": rows,
        "sources": sources,
    });
    format!("{value:#}\n")
}
