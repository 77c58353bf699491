//! `hitm case`: the cases there are, what one says, whether a file is one, and a new one.

use super::case_asm::listings;
use super::case_new;
use super::case_show::show;
use super::case_trace::traces;
use super::options::Format;
use crate::case::Case;
use crate::error::Result;
use crate::report::columns::Columns;
use crate::units::count;
use serde::Serialize;

/// Arguments of `hitm case`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// The cases that come with hitm, one row each
    List {
        /// How the rows are printed
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// One case: its layouts, what each role does step by step, and what others have published
    Show {
        /// A name that `case list` prints, or a file (it ends in .toml or has a / in it)
        #[arg(value_name = "NAME|FILE")]
        case: String,
        /// Instead: every access of a pass of each role, in order
        #[arg(long, group = "inside")]
        trace: bool,
        /// Instead: the machine code that `run` makes for a thread of each role, and what each of its
        /// accesses is. Addresses outside the code and turns of its loops that work are not those of a
        /// run
        #[arg(long, group = "inside")]
        asm: bool,
        /// Of this layout only
        #[arg(long, value_name = "LAYOUT", requires = "inside")]
        layout: Option<String>,
    },
    /// Read a case file, and say what is wrong with it: exit status 2
    #[command(
        after_help = "Refused is what would hang or crash a measurement as well as what is \
        misspelt: a lock that is not given back or taken in a circle, a pointer or a lock that is \
        written over, a wait that nobody ends, a lock whose waiters sleep."
    )]
    Check {
        /// The file, or a name that `case list` prints
        #[arg(value_name = "FILE")]
        case: String,
    },
    /// Write a case file: the layout of a struct filled in, who accesses it from what was recorded
    New(Box<case_new::Args>),
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    super::print(&match args.action {
        Action::List { format } => list(format)?,
        Action::Show {
            case,
            trace: true,
            layout,
            ..
        } => traces(Case::load(&case)?, layout.as_deref())?,
        Action::Show {
            case,
            asm: true,
            layout,
            ..
        } => listings(Case::load(&case)?, layout.as_deref())?,
        Action::Show { case, .. } => show(&Case::load(&case)?),
        Action::Check { case } => checked(&Case::load(&case)?),
        Action::New(args) => return case_new::run(&args),
    })
}

/// A row of `case list`.
#[derive(Serialize)]
struct Listed {
    case: &'static str,
    #[serde(rename = "struct")]
    struct_name: String,
    layouts: usize,
    roles: usize,
    least_threads: usize,
    published: usize,
    about: String,
}

fn list(format: Format) -> Result<String> {
    let row = |name: &'static str| {
        let case = Case::load(name)?;
        Ok(Listed {
            case: name,
            layouts: case.layouts.len(),
            roles: case.roles.len(),
            least_threads: case.least_threads(),
            published: case.published.len(),
            struct_name: case.struct_name,
            about: case.about,
        })
    };
    let rows: Vec<Listed> = Case::names().map(row).collect::<Result<_>>()?;
    Ok(super::rows(format, &rows, |rows| {
        let mut table = Columns::new("<<>>><");
        table.row(["case", "struct", "layouts", "roles", "published", "about"]);
        for row in rows {
            table.row([
                row.case.to_owned(),
                row.struct_name.clone(),
                row.layouts.to_string(),
                row.roles.to_string(),
                row.published.to_string(),
                row.about.clone(),
            ]);
        }
        table.to_string()
    }))
}

fn checked(case: &Case) -> String {
    format!(
        "{}: ok ({}, {}, {}; at least {})\n",
        case.name,
        count(case.layouts.len(), "layout"),
        count(case.roles.len(), "role"),
        count(case.published.len(), "published figure"),
        count(case.least_threads(), "thread")
    )
}
