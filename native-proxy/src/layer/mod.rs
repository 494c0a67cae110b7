//! The same guard inside a program: a `tower` layer around a service of HTTP requests.
//!
//! A [`Guard`] holds a policy document at work and is shared by everything that it guards. A
//! [`GuardLayer`] puts it around a service: axum's router, tonic's server or channel, a client of
//! hyper's. What a call counts as, what a rejection looks like and when a call settles are the
//! proxy's own code.
//!
//! ```
//! use bimetal_proxy::bimetal_core::policy::{Document, Host};
//! use bimetal_proxy::{Guard, GuardLayer};
//!
//! let policy = br#"{"version": "v1", "policies": [{"name": "shop", "timeout": {"request": "2s"},
//!     "breaker": {"trip": {"consecutive_failures": 3}}}]}"#;
//! let guard = Guard::new(&Document::parse(policy, Host::Native)?);
//! let layer = GuardLayer::new(guard.clone());
//! # let _ = layer;
//! # Ok::<(), bimetal_proxy::bimetal_core::doc::Problems>(())
//! ```
//!
//! A service that reads slow clients' uploads needs [`UploadLayer`] outside of the guard, or their time
//! counts as the service's.
//!
//! Time limits need tokio's timer; nothing else in here needs a runtime.

mod body;
mod future;
mod guard;
mod replica;
mod service;
mod span;
mod stopped;
mod upload;

pub use body::GuardBody;
pub use future::GuardFuture;
pub use guard::{Guard, GuardBuilder};
pub use service::{CallFacts, GuardLayer, GuardService};
pub use stopped::{AsReset, AsResponse, Classify, OnStopped, Stopped};
pub use upload::{UploadBody, UploadLayer, UploadService};
