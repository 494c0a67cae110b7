//! The plugin as a whole: its configuration and its tick.

use crate::call::Call;
use crate::instance::Instance;
use crate::port::{Host, Level, Property};
use crate::registry;
use bimetal_core::policy::{self, Document};
use std::rc::Rc;

/// Milliseconds between ticks: the longest that a metric is behind. Decisions do not wait for it.
pub const TICK_MILLIS: u32 = 100;

/// One configuration of the plugin.
#[derive(Debug)]
pub struct Root<H: Host> {
    host: H,
    instance: Option<Rc<Instance>>,
}

impl<H: Host> Root<H> {
    /// Not configured yet: its requests pass.
    pub const fn new(host: H) -> Self {
        Self { host, instance: None }
    }

    /// Reads the policy document, whole or not at all: from then on it judges the requests of this
    /// configuration. Until one comes nothing else knows of it, for Envoy may reject the listener.
    ///
    /// False where the document is wrong: every error is logged then, and what was in force still is.
    ///
    /// Envoy runs this in a VM of its own first, so the result depends on the document alone.
    pub fn configure(&mut self) -> bool {
        match self.document() {
            Ok(document) => {
                self.load(&document);
                true
            }
            Err(problems) => {
                for problem in problems {
                    self.host.log(Level::Error, &format!("policy refused: {problem}"));
                }
                false
            }
        }
    }

    fn document(&self) -> Result<Document, Vec<String>> {
        let bytes = self.host.configuration().map_err(|error| vec![error.to_string()])?;
        if bytes.is_empty() {
            return Err(vec![
                "document: there is none; the plugin's configuration is the policy \
                             document as JSON"
                    .to_owned(),
            ]);
        }
        if is_protobuf(&bytes) {
            return Err(vec![
                "document: it is binary, as Envoy hands over a google.protobuf.Struct; give the \
                 policy document as JSON in a google.protobuf.StringValue"
                    .to_owned(),
            ]);
        }
        Document::parse(&bytes, policy::Host::Wasm)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn load(&mut self, document: &Document) {
        let host = &self.host;
        let ticks = host.tick_every(TICK_MILLIS);
        // Without a name it shares the engine of the nameless: better than to protect nothing.
        let name = host.property(Property::PluginName).ok().flatten().unwrap_or_default();
        let worker = registry::worker(host, &name);
        let policies_at_work = worker.with(|state| {
            state.follow_log_level(host);
            state.expect(document);
            ticks.err().into_iter().for_each(|error| state.failed(error));
            state.engine.load(document)
        });
        for skipped in &document.skipped {
            host.log(Level::Warn, &format!("not supported here, skipped: {skipped}"));
        }
        let (policies, hash) = (document.policies.len(), document.hash);
        host.log(Level::Info, &format!("{policies} policies read, hash {hash:016x}"));
        let policies = policies_at_work.unwrap_or_default();
        self.instance = Some(Rc::new(Instance::new(worker, policies, document.skipped.len())));
    }

    /// Does what time made due, and publishes metrics.
    pub fn tick(&mut self) {
        if let Some(instance) = &self.instance {
            instance.tick(&self.host);
        }
    }

    /// A request of this configuration, in Envoy's context of this number.
    pub fn call(&self, context: u32) -> Call<H> {
        Call::new(self.host.clone(), context, self.instance.clone())
    }
}

/// Whether a configuration is a serialised message. Envoy unwraps a `StringValue` and a `BytesValue`
/// and hands over the bytes of any other, though its documentation promises JSON for a `Struct` (seen
/// in 1.40). No such message begins as a document does, and each has bytes that text has not: in an
/// entry of a map the value's key is 0x12.
fn is_protobuf(bytes: &[u8]) -> bool {
    let control = |byte: &u8| *byte < b' ' && !matches!(*byte, b'\t' | b'\n' | b'\r');
    bytes.first() != Some(&b'{') && bytes.iter().any(control)
}

impl<H: Host> Drop for Root<H> {
    fn drop(&mut self) {
        let Some(worker) = self.instance.take().map(|instance| instance.worker.clone()) else {
            return;
        };
        // Another configuration of the same plugin goes on with this engine.
        if Rc::strong_count(&worker) == 1 {
            worker.with(|state| state.withdraw(&self.host));
        }
    }
}
