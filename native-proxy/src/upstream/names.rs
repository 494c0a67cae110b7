//! The addresses of an upstream's `dns`, asked for again and again.
//!
//! A look-up changes the endpoints when it ends, and no call waits for it but one that comes before the
//! first answer. What is known stays where an answer is worse than that: none, empty or too large.

use super::group::Group;
use super::resolve::{Found, Resolver};
use crate::config::{Dns, Endpoint};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// Between two look-ups: the shortest time to live that an answer is given. A look-up within an
/// answer's time costs nothing, see [`super::resolve`].
const PERIOD: Duration = Duration::from_secs(1);

/// Most addresses of a name that are believed. One connection to each is what a mistake may cost.
pub(super) const MOST_ADDRESSES: usize = 256;

/// Keeps the endpoints of `group` those that `dns` says.
pub(super) async fn follow(
    group: &Group,
    dns: &Dns,
    resolver: &Resolver,
    mut loads: watch::Receiver<u64>,
) {
    let name = &group.settings.name;
    let mut told: Option<String> = None;
    loop {
        let found = {
            let mut look_up = resolver.look_up(&dns.host);
            // A look-up that died tells nothing: as one without an answer.
            let found = look_up.wait_for(|found| found.is_over).await;
            found.map(|found| found.clone()).unwrap_or_default()
        };
        let trouble = match take(group, dns, &found) {
            Ok(true) => {
                let count = group.members().list.len();
                info!(
                    upstream = &**name,
                    endpoints = count,
                    "upstream {name}: {dns} has {count} addresses"
                );
                None
            }
            Ok(false) => None,
            Err(why) => Some(why),
        };
        if let Some(why) = trouble.as_ref().filter(|why| told.as_ref() != Some(why)) {
            warn!(upstream = &**name, "upstream {name}: {why}; its endpoints stay as they are");
        }
        told = trouble;
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            // None comes where the process ends.
            _ = loads.changed() => {}
        }
    }
}

/// Takes what a look-up found. Whether the endpoints changed.
///
/// # Errors
/// Why they stay as they are, though there is something to say of it.
pub(super) fn take(group: &Group, dns: &Dns, found: &Found) -> Result<bool, String> {
    let before: BTreeSet<SocketAddr> = group
        .members()
        .list
        .iter()
        .filter_map(|member| match member.place {
            Endpoint::Address(address) => Some(address),
            Endpoint::Name { .. } => None,
        })
        .collect();
    let mut wanted = BTreeSet::new();
    let families = [(&found.v6, found.v6_failed), (&found.v4, found.v4_failed)];
    for (version, (addresses, has_failed)) in families.into_iter().enumerate() {
        let answer = addresses.iter().flatten().map(|ip| SocketAddr::new(*ip, dns.port));
        wanted.extend(answer);
        if has_failed {
            // Nobody said that those of this version are gone.
            let is_v6 = version == 0;
            wanted.extend(before.iter().filter(|address| address.is_ipv6() == is_v6));
        }
    }
    if found.why.is_some() || wanted.is_empty() {
        let why = found.why.as_deref().unwrap_or("the look-up broke off");
        let why = format!("cannot resolve {}: {why}", dns.host);
        group.none_found(why.as_str().into());
        return Err(why);
    }
    let count = wanted.len();
    if count > MOST_ADDRESSES && !before.is_empty() {
        return Err(format!("{dns} has {count} addresses, more than {MOST_ADDRESSES}"));
    }
    if wanted == before {
        return Ok(false);
    }
    let first = wanted.into_iter().take(MOST_ADDRESSES);
    group.set(first.map(Endpoint::Address));
    if count > MOST_ADDRESSES {
        return Err(format!("{dns} has {count} addresses: the first {MOST_ADDRESSES} are taken"));
    }
    Ok(true)
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
