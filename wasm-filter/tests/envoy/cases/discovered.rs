//! A filter that Envoy finds by discovery (ECDS), as Istio gives it to its sidecars.

use crate::rig::TEST_DEADLINE;
use bimetal_conformance::envoy::{Envoy, Filter, Update};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NAME: &str = "found";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

/// The file that Envoy watches for the filter's configuration.
pub(super) struct Discovered {
    folder: tempfile::TempDir,
    module: PathBuf,
}

impl Discovered {
    pub(super) fn new(module: &Path) -> io::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, module: module.to_owned() })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("filter.json")
    }

    /// What stands in the listener's chain in the filter's place.
    pub(super) fn filter(&self) -> Value {
        found_by(&json!({"path_config_source": {"path": self.file()}}))
    }

    /// Puts a document where Envoy finds it.
    pub(super) fn write(&self, document: &str) -> io::Result<()> {
        let typed = Filter::new(&self.module, document).to_json()["typed_config"].take();
        let resource = json!({"@type": EXTENSION, "name": NAME, "typed_config": typed});
        let beside = self.folder.path().join("filter.new");
        fs::write(&beside, json!({"resources": [resource]}).to_string())?;
        // Envoy reacts to the move, and never reads half a file.
        fs::rename(beside, self.file())
    }

    /// Gives Envoy another document; what it says of it.
    pub(super) fn update(&self, envoy: &Envoy, document: &str) -> io::Result<Update> {
        let (accepted, refused) = verdicts(envoy)?;
        self.write(document)?;
        let deadline = Instant::now() + TEST_DEADLINE;
        while Instant::now() < deadline {
            let (now_accepted, now_refused) = verdicts(envoy)?;
            if now_refused > refused {
                return Ok(Update::Refused);
            }
            if now_accepted > accepted {
                return Ok(Update::Accepted);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other("Envoy did not judge the update"))
    }
}

fn found_by(source: &Value) -> Value {
    let mut source = source.clone();
    source["resource_api_version"] = json!("V3");
    // The listener waits for it without end.
    source["initial_fetch_timeout"] = json!("0s");
    json!({"name": NAME, "config_discovery": {"type_urls": [WASM], "config_source": source}})
}

/// A filter that never comes: whoever should say what it is does not speak gRPC.
pub(super) fn awaited_for_ever() -> Value {
    let services = json!([{"envoy_grpc": {"cluster_name": "echo"}}]);
    found_by(&json!({"api_config_source":
        {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": services}}))
}

/// How many configurations of the filter Envoy took, and how many it did not.
fn verdicts(envoy: &Envoy) -> io::Result<(u64, u64)> {
    let stats = envoy.get("/stats?filter=extension_config_discovery")?;
    let count = |name: &str| {
        let line = stats.lines().find(|line| line.contains(name))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    let missing = || io::Error::other(format!("no discovery counters in {stats}"));
    let accepted = count(".config_reload:").ok_or_else(missing)?;
    let refused = count(".config_fail:").ok_or_else(missing)?;
    Ok((accepted, refused))
}

/// One more cluster with one endpoint and no limits of its own.
pub(super) fn static_cluster(name: &str, endpoint: SocketAddr) -> Value {
    let address = json!({"socket_address":
        {"address": endpoint.ip().to_string(), "port_value": endpoint.port()}});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [{
            "max_connections": 100_000, "max_pending_requests": 100_000,
            "max_requests": 100_000, "max_retries": 100_000,
        }]},
        "load_assignment": {"cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
    })
}
