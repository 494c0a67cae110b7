//! Names to addresses, without the C library: a static program cannot use its resolver.
//!
//! `/etc/hosts` comes first, then the servers of `/etc/resolv.conf`. Both families are asked at once
//! and told as they come (RFC 8305, 3), because some servers never answer for one of them. A look-up
//! goes on when whoever wanted it gave up: the next one finds the answer in the cache.

use super::race::is_exhaustion;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;

/// Longest time that "there is no such name" is believed: a service that comes up is seen soon.
const LONGEST_NO: Duration = Duration::from_secs(30);
/// Longest time that an address is believed, whatever the server says.
const LONGEST_YES: Duration = Duration::from_secs(300);
/// Shortest time for both: a server that says zero is not asked for each connection.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long one server may be silent; the usual 5 s would use up what a connection may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of a name so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Addresses of version 6, once there is an answer; it may be that there are none.
    pub v6: Option<Vec<IpAddr>>,
    /// Those of version 4.
    pub v4: Option<Vec<IpAddr>>,
    /// Whether nobody could say which addresses of version 6 there are.
    pub v6_failed: bool,
    /// Whether nobody could say it of version 4.
    pub v4_failed: bool,
    /// Whether nothing more comes.
    pub is_over: bool,
    /// Why there is no address, for people.
    pub why: Option<String>,
    /// Whether that is this process's own want.
    pub is_own: bool,
}

/// A worker's resolver with its own cache.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    sources: RefCell<Option<Rc<Sources>>>,
    under_way: Rc<RefCell<UnderWay>>,
}

type UnderWay = Vec<(Box<str>, watch::Receiver<Found>)>;

impl Resolver {
    /// Looks a name up; what is found comes bit by bit.
    pub(super) fn look_up(&self, host: &str) -> watch::Receiver<Found> {
        let mut under_way = self.under_way.borrow_mut();
        // A look-up whose task died tells nothing any more.
        under_way.retain(|(_, found)| found.has_changed().is_ok());
        if let Some((_, found)) = under_way.iter().find(|(name, _)| **name == *host) {
            return found.clone();
        }
        let (tell, found) = watch::channel(Found::default());
        let sources = self.sources();
        if let Some(known) = sources.in_hosts(host) {
            tell.send_replace(known);
            return found;
        }
        under_way.push((host.into(), found.clone()));
        let (host, under_way) = (Box::<str>::from(host), self.under_way.clone());
        let mine = found.clone();
        tokio::task::spawn_local(async move {
            let none = sources.ask(&host, &tell).await;
            tell.send_modify(|found| {
                found.is_over = true;
                found.is_own = none.as_ref().is_some_and(|none| none.is_own);
                found.why = none.map(|none| none.text);
            });
            under_way.borrow_mut().retain(|(_, other)| !other.same_channel(&mine));
        });
        found
    }

    /// Forgets every answer; `/etc/hosts` and `/etc/resolv.conf` are read again at the next look-up.
    pub(crate) fn forget(&self) {
        self.sources.take();
        self.under_way.borrow_mut().clear();
    }

    // Made at first use: a proxy with addresses alone needs none of it.
    fn sources(&self) -> Rc<Sources> {
        self.sources.borrow_mut().get_or_insert_with(|| Rc::new(Sources::of_system())).clone()
    }
}

/// Where names are looked up.
#[derive(Debug)]
struct Sources {
    hosts: Hosts,
    servers: Result<Servers, String>,
}

#[derive(Debug)]
struct Servers {
    resolver: TokioResolver,
    /// Domains that short names may be in, in order.
    search: Vec<Name>,
    /// For errors: who was asked.
    names: String,
}

impl Sources {
    fn of_system() -> Self {
        Self {
            hosts: Hosts::from_system().unwrap_or_default(),
            servers: system_conf::read_system_conf()
                .map_err(|error| format!("/etc/resolv.conf cannot be read: {}", reason(&error)))
                .and_then(|(config, options)| Servers::new(config, options)),
        }
    }

    /// What the file of hosts says; a name that is in it is not asked for elsewhere.
    fn in_hosts(&self, host: &str) -> Option<Found> {
        let name = Name::from_utf8(host).ok()?;
        let addresses = |kind| {
            let found = self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
            let records = found.iter().flat_map(|found| found.answers());
            records.filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>()
        };
        let (v6, v4) = (addresses(RecordType::AAAA), addresses(RecordType::A));
        (!v6.is_empty() || !v4.is_empty()).then(|| Found {
            v6: Some(v6),
            v4: Some(v4),
            is_over: true,
            ..Found::default()
        })
    }

    /// Asks the servers; gives why there is no address.
    async fn ask(&self, host: &str, tell: &watch::Sender<Found>) -> Option<NoAddress> {
        match &self.servers {
            Ok(servers) => servers.ask(host, tell).await,
            Err(why) => Some((why.as_str(), 2).into()),
        }
    }
}

impl Servers {
    fn new(config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, String> {
        options.use_hosts_file = ResolveHosts::Never;
        options.positive_min_ttl = Some(SHORTEST);
        options.positive_max_ttl = Some(LONGEST_YES);
        options.negative_min_ttl = Some(SHORTEST);
        options.negative_max_ttl = Some(LONGEST_NO);
        options.timeout = options.timeout.min(PATIENCE);
        let mut names: Vec<_> =
            config.name_servers.iter().map(|server| server.ip.to_string()).collect();
        names.dedup();
        let mut search: Vec<Name> = config.domain.iter().chain(&config.search).cloned().collect();
        search.dedup();
        let provider = TokioRuntimeProvider::default();
        let resolver = TokioResolver::builder_with_config(config, provider).with_options(options);
        let resolver = resolver.build().map_err(|error| reason(&error))?;
        Ok(Self { resolver, search, names: names.join(", ") })
    }

    /// The whole names that `host` may stand for, in the order in which they are asked for
    /// (resolv.conf(5): `search`, `ndots`).
    fn whole_names(&self, host: &str) -> Vec<Name> {
        let Ok(name) = Name::from_utf8(host) else {
            return Vec::new();
        };
        if name.is_fqdn() {
            return vec![name];
        }
        let mut whole = name.clone();
        whole.set_fqdn(true);
        let searched = self.search.iter().filter_map(|domain| {
            let mut name = name.clone().append_domain(domain).ok()?;
            name.set_fqdn(true);
            Some(name)
        });
        let first = usize::from(name.num_labels()) > self.resolver.options().ndots;
        let mut names: Vec<Name> = if first || name.is_localhost() {
            std::iter::once(whole).chain(searched).collect()
        } else {
            searched.chain([whole]).collect()
        };
        names.dedup();
        names
    }

    async fn ask(&self, host: &str, tell: &watch::Sender<Found>) -> Option<NoAddress> {
        let mut why = None;
        for name in self.whole_names(host) {
            tell.send_modify(|known| (known.v6, known.v4) = (None, None));
            let v6 = self.addresses(&name, RecordType::AAAA, |found| {
                tell.send_modify(|known| known.v6 = Some(found));
            });
            let v4 = self.addresses(&name, RecordType::A, |found| {
                tell.send_modify(|known| known.v4 = Some(found));
            });
            let (v6, v4) = tokio::join!(v6, v4);
            if v6.is_ok() || v4.is_ok() {
                let has_failed =
                    |of: &Result<(), NoAddress>| of.as_ref().is_err_and(|why| why.weight > 1);
                let (v6_failed, v4_failed) = (has_failed(&v6), has_failed(&v4));
                tell.send_modify(|known| {
                    (known.v6_failed, known.v4_failed) = (v6_failed, v4_failed)
                });
                return None;
            }
            // That a server failed says more than that a name in a search list is not there.
            for error in [v6.err(), v4.err()].into_iter().flatten() {
                if why.as_ref().is_none_or(|known: &NoAddress| known.weight <= error.weight) {
                    why = Some(error);
                }
            }
        }
        let mut why = why.unwrap_or_else(|| ("it is no name", 2).into());
        why.text = format!("{} (servers asked: {})", why.text, self.names);
        Some(why)
    }

    async fn addresses(
        &self,
        name: &Name,
        kind: RecordType,
        tell: impl FnOnce(Vec<IpAddr>),
    ) -> Result<(), NoAddress> {
        let found = self.resolver.lookup(name.clone(), kind).await;
        let records = found.iter().flat_map(|found| found.answers());
        let addresses: Vec<_> = records.filter_map(|record| record.data.ip_addr()).collect();
        let is_empty = addresses.is_empty();
        tell(addresses);
        match found {
            Err(error) => Err(NoAddress::of(&error)),
            Ok(_) if is_empty => Err(NoAddress::NONE.into()),
            Ok(_) => Ok(()),
        }
    }
}

/// Why a question has no address for an answer.
#[derive(Debug)]
struct NoAddress {
    text: String,
    /// The heavier says more.
    weight: u8,
    is_own: bool,
}

impl NoAddress {
    const NONE: (&'static str, u8) = ("the name has no address", 1);

    fn of(error: &NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => ("there is no such name", 0).into(),
                ResponseCode::NoError => Self::NONE.into(),
                code => Self::from((&*format!("the answer was {}", code.to_str()), 2)),
            },
            NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain)) => {
                ("there is no such name", 0).into()
            }
            other => Self {
                is_own: matches!(other, NetError::Io(error) if is_exhaustion(error)),
                ..(&*reason(other), 2).into()
            },
        }
    }
}

impl From<(&str, u8)> for NoAddress {
    fn from((text, weight): (&str, u8)) -> Self {
        Self { text: text.into(), weight, is_own: false }
    }
}

/// An error of the library in our words.
fn reason(error: &NetError) -> String {
    match error {
        NetError::Timeout => "no answer in time".into(),
        NetError::NoConnections => "no server can be reached".into(),
        NetError::Io(error) if error.kind() == std::io::ErrorKind::Other => {
            "it has no server, or a line in it is wrong".into()
        }
        NetError::Io(error) => error.to_string(),
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the answer was {}", code.to_str()),
        NetError::Busy => "too many questions at once".into(),
        NetError::Proto(_) => "the answer is no DNS, or the name too long".into(),
        _ => "it cannot be asked for".into(),
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
