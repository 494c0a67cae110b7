//! What the core alone knows of a call: what the scenario says.

use crate::scenario::Call;
use bimetal_core::Facts;
use std::borrow::Cow;

pub(super) struct CallFacts<'a>(pub(super) &'a Call);

impl Facts for CallFacts<'_> {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.host.as_bytes()))
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.path.as_bytes()))
    }

    fn method(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.method.as_bytes()))
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.headers.get(name).map(|value| Cow::Borrowed(value.as_bytes()))
    }

    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"echo"))
    }

    fn route(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"echo"))
    }

    fn client(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"127.0.0.1"))
    }
}
