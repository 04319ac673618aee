//! `outrigger man`: the manual, made from the very definition of the command line.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::Arguments;

/// Prints the page of the whole command, or writes one page for each command into `directory`.
///
/// # Errors
/// A file or standard output cannot be written.
pub fn run(directory: Option<&Path>) -> io::Result<ExitCode> {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        Man::new(Arguments::command()).render(&mut page)?;
        io::stdout().lock().write_all(&page)?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Arguments::command(), directory)?;
    Ok(ExitCode::SUCCESS)
}
