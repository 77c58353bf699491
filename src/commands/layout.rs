//! `hitm layout`: what the layouts look like.

use crate::error::Result;

/// Arguments of `hitm layout`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// All layouts, a row each
    List,
}

/// Run it.
pub fn run(args: Args) -> Result<()> {
    match args.action {
        Action::List => {
            for layout in crate::layout::BuiltIn::ALL {
                println!("{}", layout.name());
            }
            Ok(())
        }
    }
}
