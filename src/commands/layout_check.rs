//! `hitm layout check`: do the layouts of a case keep its rules?

use super::layout_named::{self, THREADS};
use crate::case::Case;
use crate::error::{Error, Result};
use crate::report::layout_map;

/// Arguments of `hitm layout check`.
#[derive(clap::Args)]
pub struct Args {
    /// The case whose rules are held against its layouts, by name or file
    #[arg(long, value_name = "NAME|FILE")]
    case: String,
    /// Only this layout
    #[arg(long, value_name = "L")]
    layout: Option<String>,
    /// Threads that the roles have together; more where the case needs more
    #[arg(long, value_name = "N", default_value_t = THREADS, value_parser = layout_named::threads)]
    threads: usize,
}

/// Run it: exit status 1 if a rule is broken.
pub fn run(args: &Args) -> Result<()> {
    let case = Case::load(&args.case)?;
    if case.rules.is_empty() {
        return Err(Error::Input(format!(
            "case '{}' has no rules to check; write them as [[rule]]",
            case.name.escape_debug()
        )));
    }
    let (mut text, mut broken, mut checked) = (String::new(), 0, 0);
    for layout in layout_named::of_case(&case, args.layout.as_deref())? {
        for rule in case.check(layout, args.threads)? {
            checked += 1;
            broken += usize::from(rule.breach.is_some());
            text.push_str(&layout_map::rule(&layout.name, &rule));
        }
    }
    super::print(&text)?;
    match broken {
        0 => Ok(()),
        broken => Err(Error::Broken(format!(
            "{broken} of {checked} rules of case '{}' are broken",
            case.name.escape_debug()
        ))),
    }
}
