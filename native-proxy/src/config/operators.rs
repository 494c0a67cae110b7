//! Reading who may control a proxy, and whom its dashboard watches.

use super::table::ADMIN;
use super::table::admin::{self, watched};
use super::{Metal, Operators, Watched};
use bimetal_core::doc::problem::quoted;
use bimetal_core::doc::{Node, Path, Problems, Unread};
use std::path::PathBuf;
use std::sync::Arc;

/// What a file that was checked and completed says of it.
pub(super) fn read(tree: &Node) -> Result<Operators, Unread> {
    let part = ADMIN.part(tree)?;
    let hosts = admin::HOSTS.read(part)?;
    Ok(Operators {
        token_file: admin::TOKEN_FILE.given(part)?.map(PathBuf::from),
        hosts: hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect(),
        watch: admin::WATCH.parts(part).iter().map(watched).collect::<Result<_, _>>()?,
    })
}

fn watched(node: &Node) -> Result<Watched, Unread> {
    let (address, metal) = match watched::PROXY.given(node)? {
        Some(proxy) => (proxy, Metal::Proxy),
        None => (watched::ENVOY.read(node)?, Metal::Envoy),
    };
    let name = Arc::from(watched::NAME_KEY.read(node)?);
    Ok(Watched { name, address: address.0, metal })
}

/// Finds names that two of those who are watched have.
pub(super) fn names(tree: &Node, problems: &mut Problems) {
    let Some(part) = ADMIN.node(tree) else { return };
    let mut seen: Vec<&str> = Vec::new();
    let admin = Path::ROOT;
    let admin = admin.key(ADMIN.name());
    let watch = admin.key(admin::WATCH.name());
    for (index, node) in admin::WATCH.parts(part).iter().enumerate() {
        let Some(name) = watched::NAME_KEY.text(node) else { continue };
        if seen.contains(&name) {
            let at = watch.index(index);
            problems.add(
                &at.key(watched::NAME_KEY.name()),
                format!("{} is watched twice", quoted(name)),
            );
        }
        seen.push(name);
    }
}
