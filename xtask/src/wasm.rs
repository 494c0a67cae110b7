//! Builds WebAssembly: the filters for Envoy, and the core's tests.
//!
//! The ordinary way is rustup's Wasm target. Where rustup cannot download it, Debian's compiler
//! for the web builds the standard library from its sources.

use crate::{place, process, say, tools};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What WebAssembly is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The filter's: Envoy's Wasm hosts speak WASI preview 1.
    Wasi,
    /// A browser's, without a system.
    Browser,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Wasi => "wasm32-wasip1",
            Self::Browser => "wasm32-unknown-unknown",
        }
    }

    /// How cargo's variables for the target begin.
    fn variables(self) -> String {
        format!("CARGO_TARGET_{}", self.name().to_uppercase().replace('-', "_"))
    }

    /// Whether the toolchain in use has the target's standard library.
    fn is_there(self) -> bool {
        process::answer("rustc", &["--print", "target-libdir", "--target", self.name()])
            .is_some_and(|folder| Path::new(&folder).is_dir())
    }
}

/// The crates to build and the files they become.
const FILTERS: [(&str, &str); 2] = [
    ("bimetal-filter", "bimetal_filter.wasm"),
    ("bimetal-noop-filter", "bimetal_noop_filter.wasm"),
];

/// What rustc's modules use beyond WebAssembly's first version; Envoy's VM has all of it.
const WASM_FEATURES: [&str; 4] = [
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
];

/// How long rustup may take; without a network it may try for minutes.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// How long one build may take.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// What can compile to WebAssembly here.
enum Compiler {
    /// The toolchain in use has the target.
    Own,
    /// Debian's rustc with the standard library's sources.
    Debian(Debian),
}

struct Debian {
    rustc: PathBuf,
    linker: PathBuf,
}

/// Builds both filters, copies them to the target folder and prints their sizes on stdout.
///
/// # Errors
/// No compiler can be had, or the build fails.
pub fn build() -> Result<()> {
    let since = Instant::now();
    let mut command = cargo_for(Target::Wasi, Library::Standard)?;
    say::begins("wasm", "the filter and the filter that does nothing");
    command.args(["build", "--profile", "wasm"]);
    for (package, _) in FILTERS {
        command.args(["--package", package]);
    }
    process::succeed("wasm build", &mut command, BUILD_LIMIT)?;
    let built = folder().join(Target::Wasi.name()).join("wasm");
    let optimiser = tools::named("wasm-opt")?.find();
    if optimiser.is_none() {
        say::line(
            "    without wasm-opt (Debian's binaryen), which makes it about an eighth smaller",
        );
    }
    let make = |from: &str, to: &Path| finish(&built.join(from), to, optimiser.as_deref());
    let filter = make(FILTERS[0].1, &place::filter())?;
    let noop = make(FILTERS[1].1, &place::noop_filter())?;
    say::ended("wasm", "built", since.elapsed());
    println!(
        "{}: {} (the filter that does nothing: {})",
        place::filter().display(),
        say::size(filter),
        say::size(noop)
    );
    Ok(())
}

/// What of the standard library a build needs, where that has to be built too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// What a program needs.
    Standard,
    /// Also Rust's own test harness.
    WithTests,
}

/// Cargo for a target, in a folder of its own; the caller says what it does.
///
/// # Errors
/// No compiler can be had.
pub fn cargo_for(target: Target, library: Library) -> Result<Command> {
    let mut command = Command::new(cargo());
    command.current_dir(place::root());
    // Flags for this machine's processor mean nothing to a Wasm target.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.env("CARGO_TARGET_DIR", folder()).env("CARGO_BUILD_TARGET", target.name());
    if let Compiler::Debian(debian) = compiler(target)? {
        let parts = match library {
            Library::Standard => "std,panic_abort",
            Library::WithTests => "std,panic_abort,test",
        };
        let flags = match (target, library) {
            (Target::Browser, _) => "",
            (Target::Wasi, Library::Standard) => "-L/usr/lib/wasm32-wasi",
            // The test harness names functions of threads that Debian's C library has not; without
            // threads nobody calls them.
            (Target::Wasi, Library::WithTests) => {
                "-L/usr/lib/wasm32-wasi -Clink-arg=--unresolved-symbols=ignore-all"
            }
        };
        command
            .arg(format!("-Zbuild-std={parts}"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", &debian.rustc)
            .env(format!("{}_LINKER", target.variables()), &debian.linker)
            .env(format!("{}_RUSTFLAGS", target.variables()), flags);
    }
    Ok(command)
}

/// Where builds for WebAssembly go: they may run beside those of this machine.
fn folder() -> PathBuf {
    place::target().join("wasm")
}

/// Cargo as it was called.
pub fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Puts a built module where others look for it, by way of Binaryen where that is there. Returns its size.
fn finish(from: &Path, to: &Path, optimiser: Option<&Path>) -> Result<u64> {
    match optimiser {
        None => std::fs::copy(from, to).map(drop),
        Some(program) => {
            let mut command = Command::new(program);
            command.args(["-O3", "-o"]).arg(to).arg(from).args(WASM_FEATURES);
            process::succeed("wasm-opt", &mut command, BUILD_LIMIT)?;
            Ok(())
        }
    }
    .and_then(|()| std::fs::metadata(to))
    .map(|file| file.len())
    .with_context(|| format!("cannot put {} to {}", from.display(), to.display()))
}

/// Finds a compiler: the toolchain's own, rustup's download, Debian's.
/// `WASM_TOOLCHAIN=rustup|debian` takes one of them.
fn compiler(target: Target) -> Result<Compiler> {
    match std::env::var("WASM_TOOLCHAIN").as_deref() {
        Ok("debian") => return debian().map(Compiler::Debian),
        Ok("rustup") | Err(_) => {}
        Ok(other) => bail!("WASM_TOOLCHAIN is {other:?}; it may be rustup or debian"),
    }
    if target.is_there() {
        return Ok(Compiler::Own);
    }
    say::begins("wasm target", "rustup fetches the standard library for WebAssembly");
    let fetched = process::succeed(
        "rustup target add",
        Command::new("rustup").current_dir(place::root()).args(["target", "add", target.name()]),
        RUSTUP_LIMIT,
    );
    match fetched {
        Ok(_) if target.is_there() => Ok(Compiler::Own),
        outcome => {
            if let Err(error) = outcome {
                say::line(format!("    rustup could not: {}", first_line(&error)));
            }
            say::line("    taking Debian's Rust compiler for WebAssembly instead");
            debian().map(Compiler::Debian).with_context(|| {
                let name = target.name();
                format!("nothing can be built for {name}. On a machine with a network run `rustup target add {name}`")
            })
        }
    }
}

fn first_line(error: &anyhow::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Debian's compiler, installed if need be, with a linker for WebAssembly.
fn debian() -> Result<Debian> {
    // The compiler may be there without the sources and the C library.
    let complete = ["/usr/lib/wasm32-wasi/libc.a", "/usr/lib/rustlib/src/rust/library/Cargo.lock"]
        .iter()
        .all(|file| Path::new(file).exists());
    if !complete {
        tools::debian_packages(&["rustc-web", "rust-web-src", "wasi-libc"])?;
    }
    let rustc = tools::named("rustc-wasm")?.get()?;
    let linker = linker().ok_or_else(|| {
        anyhow!("no linker for WebAssembly: neither rust-lld in the toolchain nor wasm-ld on PATH")
    })?;
    Ok(Debian { rustc, linker })
}

/// The toolchain's own LLD, else one on `PATH`.
fn linker() -> Option<PathBuf> {
    let sysroot = process::answer("rustc", &["--print", "sysroot"])?;
    let about = process::answer("rustc", &["-vV"])?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "))?;
    let own = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    if own.exists() {
        Some(own)
    } else {
        process::answer("wasm-ld", &["--version"]).map(|_| PathBuf::from("wasm-ld"))
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn cargo_reads_the_variables_of_a_target_by_its_name() {
        assert_eq!(Target::Wasi.variables(), "CARGO_TARGET_WASM32_WASIP1");
        assert_eq!(Target::Browser.variables(), "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN");
    }
}
