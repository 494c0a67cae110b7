//! What the core may ask about a request.

use crate::upstream::Endpoint;
use bimetal_core::Facts;
use bimetal_core::path::NormalPath;
use hyper::header::{HOST, HeaderName};
use hyper::{HeaderMap, Method, Uri};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::rc::Rc;

/// The facts of one request.
#[derive(Debug)]
pub(crate) struct RequestFacts<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target as it goes upstream.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The client's address, where it is known.
    pub client: Option<IpAddr>,
    /// The upstream's name, once it is known.
    pub destination: Option<&'a str>,
    /// The endpoint that it is to go to, where that is chosen before anybody is asked.
    pub endpoint: Option<Rc<Endpoint>>,
    /// The route's name, once it is known.
    pub route: Option<&'a str>,
    /// Its path in the normal form, once somebody asked: routes and policies both do.
    pub normal_path: OnceCell<NormalPath<'a>>,
}

impl<'a> RequestFacts<'a> {
    fn target(&self) -> &'a str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }
}

impl Facts for RequestFacts<'_> {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        // An absolute target overrules the header (RFC 9112, 3.2.2).
        let authority = match self.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => self.headers.get(HOST)?.as_bytes(),
        };
        Some(Cow::Borrowed(authority))
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.target().as_bytes()))
    }

    fn normal_path(&self) -> Option<NormalPath<'_>> {
        let normal = || NormalPath::of(Cow::Borrowed(self.target().as_bytes()));
        Some(self.normal_path.get_or_init(normal).by_ref())
    }

    fn method(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.method.as_str().as_bytes()))
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        self.headers.get(name).map(|value| Cow::Borrowed(value.as_bytes()))
    }

    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        self.destination.map(|name| Cow::Borrowed(name.as_bytes()))
    }

    fn endpoint(&self) -> Option<Cow<'_, [u8]>> {
        self.endpoint.as_ref().map(|one| Cow::Borrowed(one.member.name.as_bytes()))
    }

    fn route(&self) -> Option<Cow<'_, [u8]>> {
        self.route.map(|name| Cow::Borrowed(name.as_bytes()))
    }

    fn client(&self) -> Option<Cow<'_, [u8]>> {
        self.client.map(|client| Cow::Owned(client.to_string().into_bytes()))
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.client
    }
}
