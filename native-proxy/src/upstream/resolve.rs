//! Names to addresses, without the C library: a static program cannot use its resolver.

use crate::config::Endpoint;
use hickory_resolver::TokioResolver;
use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};

/// A worker's resolver: `/etc/hosts`, then the servers of `/etc/resolv.conf`, with its own cache.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    inner: OnceCell<TokioResolver>,
}

impl Resolver {
    /// The addresses of an endpoint.
    ///
    /// # Errors
    /// A text for people, where the name has no address or cannot be asked for.
    pub(crate) async fn addresses(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = match endpoint {
            Endpoint::Address(address) => return Ok(vec![*address]),
            Endpoint::Name { host, port } => (&**host, *port),
        };
        let failed = |error: &dyn std::fmt::Display| format!("cannot resolve {host}: {error}");
        let found = self.get().map_err(|error| failed(&error))?.lookup_ip(host).await;
        let found = found.map_err(|error| failed(&error))?;
        let addresses: Vec<_> = found.iter().map(|ip: IpAddr| SocketAddr::new(ip, port)).collect();
        if addresses.is_empty() { Err(failed(&"no address")) } else { Ok(addresses) }
    }

    fn get(&self) -> Result<&TokioResolver, String> {
        // Made at first use: a proxy with addresses alone needs no resolv.conf.
        if self.inner.get().is_none() {
            let builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
            let resolver = builder.build().map_err(|error| error.to_string())?;
            drop(self.inner.set(resolver));
        }
        self.inner.get().ok_or_else(|| String::from("no resolver"))
    }
}
