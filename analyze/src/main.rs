//! `periscope-analyze`: see the library of the same name.

fn main() -> std::process::ExitCode {
    periscope_analyze::main()
}
