//! The filter in a real Envoy with one worker.

use super::RealHost;
use super::client::DENY;
use super::tools::{Tools, envoy};
use crate::envoy::{Config, Envoy, Filter, Update};
use crate::log::Loaded;
use crate::scenario::Scenario;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const LUA: &str = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";
const FAULT: &str = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";

/// Envoy with the filter.
#[derive(Debug)]
pub struct EnvoyHost {
    envoy: Envoy,
    config: Config,
    module: PathBuf,
    log: PathBuf,
}

impl RealHost for EnvoyHost {
    fn start(
        tools: &Tools,
        scenario: &Scenario,
        upstream: SocketAddr,
        folder: &Path,
    ) -> io::Result<Self> {
        let (program, module) = envoy()?;
        let mut config = Config::new(upstream);
        // The mesh's part: it answers in place of the upstream when a request asks for it.
        config.more_filters.push(json!({"name": "fault", "typed_config": {
            "@type": FAULT,
            "abort": {"header_abort": {}, "percentage": {"numerator": 100}},
        }}));
        // Another filter that answers, with a header that Envoy's own answers never have: filters
        // that ask a service of their own copy it (authorisation over HTTP).
        let source = format!(
            "function envoy_on_request(handle)
               local status = handle:headers():get('{DENY}')
               if status ~= nil then
                 local head = {{[':status'] = status, ['x-envoy-upstream-service-time'] = '0'}}
                 handle:respond(head, 'no')
               end
             end"
        );
        config.more_filters.push(json!({"name": "another", "typed_config": {
            "@type": LUA, "default_source_code": {"inline_string": source},
        }}));
        config.filters = vec![Filter::new(&module, scenario.document.to_string())];
        tools.tamper_with(&mut config);
        let folder = folder.join("envoy");
        let running = Envoy::start(&program, &folder, &config)?;
        Ok(Self { envoy: running, config, module, log: folder.join("envoy.log") })
    }

    fn address(&self) -> SocketAddr {
        self.envoy.address()
    }

    fn log_file(&self) -> PathBuf {
        self.log.clone()
    }

    fn load(&mut self, document: &Value) -> io::Result<Loaded> {
        self.config.filters = vec![Filter::new(&self.module, document.to_string())];
        Ok(match self.envoy.update(&self.config)? {
            Update::Accepted => Loaded::Accepted,
            Update::Refused => Loaded::Refused,
        })
    }
}
