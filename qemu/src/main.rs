//! `elfin`: builds root images (`elfin build`) and runs one unmodified Linux program in a virtual
//! machine (`elfin run`). This file only dispatches and turns errors into exit statuses.

mod build;
mod cache;
mod cli;
mod data;
mod dev;
mod image;
mod machines;
mod message;
mod network;
mod progress;
mod run;
mod shell;
mod signal;
mod size;
mod tool;
mod tree;
mod volume;

use std::process::ExitCode;

/// Exit status for failures of elfin or its kernel, as opposed to the program's own.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    let result = match cli::parse() {
        cli::Command::Build(options) => build::build(&options).map(|()| 0),
        cli::Command::Run(options) => run::run(&options),
        cli::Command::Volume { command } => volume::run(&command),
        cli::Command::Net { command } => network::run(&command),
        cli::Command::Exec(options) => run::exec::exec(&options),
        cli::Command::Ps { all, quiet } => machines::list(all, quiet),
        cli::Command::Stop { time, machines } => machines::stop(&machines, time),
        cli::Command::Kill { signal, machines } => machines::kill(&machines, signal),
        cli::Command::Wait { machines } => machines::wait(&machines),
        cli::Command::Rm { force, machines } => machines::remove(&machines, force),
        cli::Command::Logs {
            follow,
            tail,
            machine,
        } => machines::logs(&machine, follow, tail),
        cli::Command::Sdk { dir } => {
            dev::install(&tree::Tree::new(dir), std::path::Path::new("/")).map(|()| 0)
        }
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("elfin: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}
