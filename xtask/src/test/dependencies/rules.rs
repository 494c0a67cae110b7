//! `deny.toml`: what may come from outside. Only the part of cargo-deny's format that is checked
//! here; a field beyond it is an error, so that no rule stands there without effect.

use crate::place;
use anyhow::{Context, Result};
use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    pub(super) licenses: Licences,
    pub(super) bans: Bans,
    pub(super) sources: Sources,
}

/// Which licences are taken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Licences {
    /// SPDX identifiers, each with its exception where it has one.
    pub(super) allow: Vec<String>,
}

/// Crates and requirements that are not taken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Bans {
    /// Several versions of one crate.
    pub(super) multiple_versions: Level,
    /// Requirements such as `*`.
    pub(super) wildcards: Level,
    /// Whether a path without a version is fine.
    pub(super) allow_wildcard_paths: bool,
    pub(super) deny: Vec<Ban>,
}

/// A crate that is not taken, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ban {
    #[serde(rename = "crate")]
    pub(super) name: String,
    pub(super) reason: String,
}

/// Where crates may come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Sources {
    pub(super) unknown_registry: Level,
    pub(super) unknown_git: Level,
    /// Registries by the address of their index.
    pub(super) allow_registry: Vec<String>,
}

/// What follows from a breach.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// The check is red.
    Deny,
    /// A line is printed.
    Warn,
    /// Nothing.
    Allow,
}

impl Rules {
    /// The repository's own.
    ///
    /// # Errors
    /// The file cannot be read, or says what is not checked here.
    pub(super) fn read() -> Result<Self> {
        let file = place::root().join("deny.toml");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text)
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("deny.toml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_nobody_checks_is_refused() {
        let text = std::fs::read_to_string(place::root().join("deny.toml")).unwrap();
        assert!(Rules::parse(&text).is_ok());
        let more = text.replace("[licenses]", "[licenses]\nconfidence-threshold = 0.8");
        let error = format!("{:#}", Rules::parse(&more).unwrap_err());
        assert!(error.contains("confidence-threshold"), "{error}");
    }
}
