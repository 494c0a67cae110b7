//! A request as it is described on the command line.

use bimetal_core::path::{HiddenDots, forwarded};
use bimetal_core::{Direction, Facts};
use std::borrow::Cow;

/// The request that `explain` decides on.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) authority: String,
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) destination: Option<String>,
    pub(super) route: Option<String>,
    pub(super) client: Option<String>,
    pub(super) direction: Direction,
}

impl Request {
    /// Reads `METHOD TARGET "name: value"...`; the target is a path or a whole `http://` address.
    pub(super) fn parse(method: &str, target: &str, headers: &[String]) -> Result<Self, String> {
        let mut request = Self { method: method.to_owned(), ..Self::default() };
        let address = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
        match address {
            Some(address) => {
                let end = address.find(['/', '?']).unwrap_or(address.len());
                let (authority, path) = address.split_at(end);
                request.authority = authority.to_owned();
                request.path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
            }
            None if target.starts_with('/') || target == "*" => request.path = target.to_owned(),
            None => {
                return Err(format!("{target:?} is neither a path nor an http:// address"));
            }
        }
        for header in headers {
            let Some((name, value)) = header.split_once(':') else {
                return Err(format!("{header:?} is not \"name: value\""));
            };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            match name.as_str() {
                "host" => request.authority = value.to_owned(),
                _ => request.headers.push((name, value.to_owned())),
            }
        }
        Ok(request)
    }

    /// Method, authority and target.
    pub(super) fn line(&self) -> String {
        format!("{} {}{}", self.method, self.authority, self.path)
    }

    /// Brings the path into the form that the proxy sends upstream.
    pub(super) fn straighten(&mut self) -> Result<(), HiddenDots> {
        let end = self.path.find(['?', '#']).unwrap_or(self.path.len());
        let (path, query) = self.path.split_at(end);
        if let Cow::Owned(path) = forwarded(path.as_bytes())? {
            self.path = format!("{}{query}", String::from_utf8_lossy(&path));
        }
        Ok(())
    }
}

fn given(text: &str) -> Option<Cow<'_, [u8]>> {
    (!text.is_empty()).then_some(Cow::Borrowed(text.as_bytes()))
}

impl Facts for Request {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        given(&self.authority)
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        given(&self.path)
    }

    fn method(&self) -> Option<Cow<'_, [u8]>> {
        given(&self.method)
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| Cow::Borrowed(value.as_bytes()))
    }

    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        self.destination.as_deref().and_then(given)
    }

    fn route(&self) -> Option<Cow<'_, [u8]>> {
        self.route.as_deref().and_then(given)
    }

    fn client(&self) -> Option<Cow<'_, [u8]>> {
        self.client.as_deref().and_then(given)
    }

    fn direction(&self) -> Direction {
        self.direction
    }
}
