//! `hitm prefetch`: how the prefetchers stand, switching them, putting them back.

use super::options::Format;
use super::print;
use crate::error::{Error, Result, say};
use crate::machine::{CpuId, Vendor, cpu_list};
use crate::prefetch::{
    Control, Cpus, Place, Prefetcher, Restored, Selected, Setting, Switch, Which, leftover, restore,
};
use crate::report::columns::Columns;
use crate::results::RegisterSettings;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

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
        registers: RegisterSettings,
        /// Form of the output
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Switch prefetchers off, until `restore`
    Off(SwitchArgs),
    /// Switch prefetchers on, until `restore`
    On(SwitchArgs),
    /// Put every register back to what it held before the first `off` or `on`
    Restore {
        /// A folder shaped like /dev/cpu, used instead of this machine's registers
        #[arg(long, value_name = "DIR")]
        msr_root: Option<PathBuf>,
        /// Not needed here; taken as by `off` and `on`
        #[arg(long, value_enum, requires = "msr_root")]
        vendor: Option<Vendor>,
        /// Not needed here either
        #[arg(long, value_name = "FAMILY:MODEL", requires = "vendor")]
        model: Option<String>,
    },
}

#[derive(clap::Args)]
struct SwitchArgs {
    /// adjacent, streamer, dcu, dcu-ip (Intel); up-down, streamer, l1-stream, l1-stride,
    /// l1-region (AMD); or all that the core has
    #[arg(long, default_value = "all")]
    which: String,
    #[command(flatten)]
    registers: RegisterSettings,
}

/// What [`Control::open`] needs.
pub fn selected(registers: &RegisterSettings) -> Result<Selected> {
    let model = registers.model.as_deref().map(family_and_model);
    let model = model.transpose()?;
    let described = match (&registers.msr_root, registers.vendor) {
        (None, _) => None,
        (Some(_), Some(vendor)) => Some(Cpus::described(vendor, model)),
        (Some(_), None) => {
            return Err(Error::Input(
                "--msr-root needs --vendor intel or amd: the files do not tell whose registers \
                 they are"
                    .into(),
            ));
        }
    };
    let cpus = registers.cpus.as_deref().map(cpu_list::parse).transpose()?;
    Ok(Selected {
        place: place(registers.msr_root.as_deref())?,
        described,
        cpus: cpus.map(BTreeSet::from_iter),
        unsafe_msr: registers.unsafe_msr,
    })
}

fn place(msr_root: Option<&Path>) -> Result<Place> {
    msr_root.map_or_else(|| Ok(Place::machine()), Place::folder)
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
        Action::Off(args) => switch(&args, Switch::Off),
        Action::On(args) => switch(&args, Switch::On),
        Action::Restore { msr_root, .. } => put_back(&place(msr_root.as_deref())?),
    }
}

fn switch(args: &SwitchArgs, state: Switch) -> Result<()> {
    let which: Which = args.which.parse()?;
    let control = Control::open(&selected(&args.registers)?)?;
    if let Some(note) = control.place().taint_note() {
        say(format_args!("note: {note}"));
    }
    let applied = control.apply(which, state)?;
    if !applied.without.is_empty() {
        say(format_args!(
            "note: CPUs {} have no such prefetcher and were left alone",
            applied.without
        ));
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

fn status(registers: &RegisterSettings, format: Format) -> Result<()> {
    let control = Control::open(&selected(registers)?)?;
    let settings = control.status()?;
    print(&match format {
        Format::Table => table(&control, &settings),
        Format::Csv => super::csv(&settings.iter().map(SettingRow::from).collect::<Vec<_>>()),
        Format::Json => json(&control, &settings),
    })
}

/// One line for each prefetcher, however many CPUs there are.
fn table(control: &Control, settings: &[Setting]) -> String {
    let mut table = Columns::new("<<<<<<");
    table.row(["prefetcher", "register", "bit", "on", "off", "core"]);
    for prefetcher in Prefetcher::ALL {
        let mut cores: Vec<&str> = Vec::new();
        let of = settings.iter().filter(|r| r.bit.prefetcher == *prefetcher);
        for setting in of.clone() {
            if !cores.contains(&setting.core.name) {
                cores.push(setting.core.name);
            }
        }
        for core in cores {
            let of = of.clone().filter(|r| r.core.name == core);
            let cpus = |state| {
                let cpus = of.clone().filter(|r| r.state() == state).map(|r| r.cpu);
                match cpu_list::format(cpus) {
                    none if none.is_empty() => "-".to_owned(),
                    cpus => cpus,
                }
            };
            let bit = of.clone().next().map(|r| r.bit);
            let Some(bit) = bit else { continue };
            table.row([
                prefetcher.to_string(),
                format!("{:#x}", bit.register),
                bit.bit.to_string(),
                cpus(Switch::On),
                cpus(Switch::Off),
                core.to_owned(),
            ]);
        }
    }
    let mut text = table.to_string();
    let mut values: BTreeMap<(u32, u64), Vec<CpuId>> = BTreeMap::new();
    for setting in settings {
        let cpus = values
            .entry((setting.bit.register, setting.value))
            .or_default();
        if cpus.last() != Some(&setting.cpu) {
            cpus.push(setting.cpu);
        }
    }
    text.push('\n');
    for ((register, value), cpus) in values {
        let cpus = cpu_list::format(cpus);
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

/// One prefetcher of one CPU, as a row.
#[derive(serde::Serialize)]
struct SettingRow<'a> {
    cpu: CpuId,
    core: &'a str,
    prefetcher: &'a str,
    register: String,
    bit: u8,
    value: String,
    state: Switch,
}

impl<'a> From<&'a Setting> for SettingRow<'a> {
    fn from(setting: &'a Setting) -> SettingRow<'a> {
        SettingRow {
            cpu: setting.cpu,
            core: setting.core.name,
            prefetcher: setting.bit.prefetcher.name(),
            register: format!("{:#x}", setting.bit.register),
            bit: setting.bit.bit,
            value: format!("{:#x}", setting.value),
            state: setting.state(),
        }
    }
}

fn json(control: &Control, settings: &[Setting]) -> String {
    let model = control.cpus().model;
    let rows: Vec<SettingRow> = settings.iter().map(SettingRow::from).collect();
    let sources: BTreeMap<&str, &str> = settings
        .iter()
        .map(|setting| (setting.core.name, setting.core.source))
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
    super::json(&value)
}
