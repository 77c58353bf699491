//! Arguments to commands, nothing else.

use clap::Parser;
use clap::error::ErrorKind;
use hitm::commands::Command;
use hitm::error::say;
use std::process::ExitCode;

/// What the placement of a lock costs, and which part of the hardware causes the cost.
#[derive(Parser)]
#[command(name = "hitm", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // --help and --version; a closed pipe is no failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            say(one_line(&error));
            return ExitCode::from(2);
        }
    };
    if !matches!(cli.command, Command::Prefetch(_)) {
        hitm::prefetch::notice_leftover();
    }
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            error.exit_code()
        }
    }
}

/// The message of a usage error in one line, without the usage text.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; add --help to see which there are".to_owned();
    }
    let message = error.render().to_string();
    let lines: Vec<&str> = message
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    lines
        .join("; ")
        .replace(":; ", ": ")
        .trim_start_matches("error: ")
        .to_owned()
}
