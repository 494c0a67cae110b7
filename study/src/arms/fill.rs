//! Placeholders of arms' files: `${name}`.
//!
//! | placeholder | |
//! |---|---|
//! | `${port.NAME}` | a port of the arm; the same name is the same port. Calls go to `entry` |
//! | `${upstream}`, `${upstream.port}` | the server's address and port |
//! | `${folder}` | the process's folder |
//! | `${policy}`, `${policies}` | the policy document, and its list of policies, in one line |
//! | a name of `values` | its text, filled in its turn |
//! | a name of `needs` | the tool's path; with `.folder` behind it that of its folder |

use super::file::Policy;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

/// How often filled text may be filled again.
const DEEPEST: usize = 8;

/// What placeholders stand for.
#[derive(Debug)]
pub(super) struct Filling<'a> {
    pub(super) values: &'a BTreeMap<String, String>,
    pub(super) tools: &'a BTreeMap<String, String>,
    pub(super) upstream: SocketAddr,
    pub(super) policy: &'a Policy,
    /// Ports so far.
    pub(super) ports: BTreeMap<String, u16>,
}

impl Filling<'_> {
    /// `text` with every placeholder filled; `folder` is the process's.
    ///
    /// # Errors
    /// A placeholder is unknown or not closed, or there is no free port.
    pub(super) fn fill(&mut self, text: &str, folder: &Path) -> Result<String> {
        self.fill_to(text, folder, DEEPEST)
    }

    fn fill_to(&mut self, text: &str, folder: &Path, deepest: usize) -> Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("${") {
            let Some((name, after)) = from.split_once('}') else {
                bail!(
                    "a placeholder is not closed: ${{{}",
                    from.chars().take(20).collect::<String>()
                );
            };
            filled.push_str(before);
            filled.push_str(&self.one(name, folder, deepest)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn one(&mut self, name: &str, folder: &Path, deepest: usize) -> Result<String> {
        if let Some(port) = name.strip_prefix("port.") {
            return self.port(port).map(|port| port.to_string());
        }
        match name {
            "upstream" => return Ok(self.upstream.to_string()),
            "upstream.port" => return Ok(self.upstream.port().to_string()),
            "folder" => return Ok(folder.display().to_string()),
            "policy" => return Ok(self.policy.document.clone()),
            "policies" => return Ok(self.policy.list.clone()),
            _ => {}
        }
        if let Some(value) = self.values.get(name) {
            if deepest == 0 {
                bail!("the value {name} holds itself");
            }
            return self.fill_to(value, folder, deepest - 1);
        }
        if let Some(path) = name.strip_suffix(".folder").and_then(|tool| self.tools.get(tool)) {
            let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
            return Ok(folder.display().to_string());
        }
        match self.tools.get(name) {
            Some(path) => Ok(path.clone()),
            None => bail!("nothing is known of ${{{name}}}: it is neither a value nor a need"),
        }
    }

    /// The port of that name.
    ///
    /// # Errors
    /// There is no free one.
    pub(super) fn port(&mut self, name: &str) -> Result<u16> {
        if let Some(port) = self.ports.get(name) {
            return Ok(*port);
        }
        let port = crate::ports::hold()?;
        self.ports.insert(name.to_owned(), port);
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String> {
        let values = [("a", "<${b}>"), ("b", "${upstream.port}"), ("self", "${self}")];
        let values = values.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let tools = [("sh".to_owned(), "/bin/sh".to_owned())].into();
        let mut filling = Filling {
            values: &values,
            tools: &tools,
            upstream: "127.0.0.1:5001".parse().unwrap(),
            policy: &Policy { document: r#"{"policies":[]}"#.into(), list: "[]".into() },
            ports: [("entry".to_owned(), 8001)].into(),
        };
        filling.fill(text, Path::new("/run/arm"))
    }

    #[test]
    fn placeholders_are_filled_and_braces_left_alone() {
        let text = r#"{"x":{}} $5 ${sh} ${sh.folder} ${a} ${port.entry} ${upstream} ${folder}/f '${policy}' ${policies}"#;
        let filled = fill(text).unwrap();
        let wanted = r#"{"x":{}} $5 /bin/sh /bin <5001> 8001 127.0.0.1:5001 /run/arm/f '{"policies":[]}' []"#;
        assert_eq!(filled, wanted);
        let twice = fill("${port.x} ${port.x} ${port.y}").unwrap();
        let ports: Vec<&str> = twice.split(' ').collect();
        assert!(ports[0] == ports[1] && ports[1] != ports[2], "{twice}");
    }

    #[test]
    fn what_cannot_be_filled_is_told() {
        for (text, told) in [
            ("${nothing}", "nothing is known of ${nothing}"),
            ("${self}", "holds itself"),
            ("${open", "not closed"),
        ] {
            let error = fill(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
