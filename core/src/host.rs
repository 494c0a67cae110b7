//! The hosts that carry out what a document says.

/// The host that a document is read for: not every host can do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// The native proxy and the `tower` layer.
    Native,
    /// The Wasm filter in Envoy.
    Wasm,
}

impl Host {
    /// The name in errors and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Wasm => "wasm",
        }
    }
}
