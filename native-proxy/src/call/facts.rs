//! What the core may ask about a request.

use bimetal_core::Facts;
use hyper::header::{HOST, HeaderName};
use hyper::http::request::Parts;
use std::borrow::Cow;
use std::net::IpAddr;

/// The facts of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestFacts<'a> {
    /// Its head.
    pub head: &'a Parts,
    /// The client's address.
    pub client: IpAddr,
    /// Names of upstream and route, once they are known.
    pub route: Option<(&'a str, &'a str)>,
}

impl Facts for RequestFacts<'_> {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        // An absolute target overrules the header (RFC 9112, 3.2.2).
        let authority = match self.head.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => self.head.headers.get(HOST)?.as_bytes(),
        };
        Some(Cow::Borrowed(authority))
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        let path = self
            .head
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str());
        Some(Cow::Borrowed(path.as_bytes()))
    }

    fn method(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.head.method.as_str().as_bytes()))
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        self.head
            .headers
            .get(name)
            .map(|value| Cow::Borrowed(value.as_bytes()))
    }

    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        self.route
            .map(|(destination, _)| Cow::Borrowed(destination.as_bytes()))
    }

    fn route(&self) -> Option<Cow<'_, [u8]>> {
        self.route.map(|(_, route)| Cow::Borrowed(route.as_bytes()))
    }

    fn client(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Owned(self.client.to_string().into_bytes()))
    }
}
