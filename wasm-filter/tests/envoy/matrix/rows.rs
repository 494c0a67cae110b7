//! The table.

use super::Client::{
    CutsConnection, GrpcWeb, HoldsRequest, LeavesAtHeaders, LeavesBeforeAnswer, LeavesInAnswer,
    LeavesInRequest, LeavesLate, LeavesLateInRequest, SendsTooMuch, Stays, Upgrades, UploadsLate,
};
use super::{Client, Down, FILTERS, Up};
use serde_json::{Value, json};

/// One way in which a request goes.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) down: Down,
    pub(super) up: Up,
    /// What the upstream does.
    pub(super) path: &'static str,
    pub(super) client: Client,
    /// Fields of the route's action, and of its filters.
    pub(super) action: fn() -> (Value, Value),
    /// What the policy counts the call as; `None` where the filter never saw the request.
    pub(super) counts: Option<&'static str>,
    /// The status that the client sees; 0 for none.
    pub(super) status: u16,
    /// How often the upstream saw the request, where that is the point.
    pub(super) tries: Option<u32>,
}

const fn row(
    name: &'static str,
    (down, up): (Down, Up),
    path: &'static str,
    client: Client,
    (counts, status): (&'static str, u16),
) -> Row {
    Row { name, down, up, path, client, action: plain, counts: Some(counts), status, tries: None }
}

impl Row {
    const fn on(mut self, action: fn() -> (Value, Value)) -> Self {
        self.action = action;
        self
    }

    const fn tries(mut self, tries: u32) -> Self {
        self.tries = Some(tries);
        self
    }

    const fn unseen(mut self) -> Self {
        self.counts = None;
        self
    }
}

fn plain() -> (Value, Value) {
    (json!({}), json!({}))
}

fn half_a_second() -> (Value, Value) {
    (json!({"timeout": "0.5s"}), json!({}))
}

/// For answers that begin before it: on a machine with much to do that takes a while.
fn three_seconds() -> (Value, Value) {
    (json!({"timeout": "3s"}), json!({}))
}

fn idle() -> (Value, Value) {
    (json!({"idle_timeout": "0.5s"}), json!({}))
}

fn stream_limit() -> (Value, Value) {
    (json!({"max_stream_duration": {"max_stream_duration": "0.5s"}}), json!({}))
}

fn retries() -> (Value, Value) {
    let policy = json!({"retry_on": "5xx,reset,connect-failure,refused-stream",
        "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}});
    (json!({"retry_policy": policy}), json!({}))
}

fn retries_with_a_limit_each() -> (Value, Value) {
    let policy = json!({"retry_on": "5xx", "num_retries": 2, "per_try_timeout": "0.3s",
        "retry_back_off": {"base_interval": "0.001s"}});
    (json!({"retry_policy": policy}), json!({}))
}

fn mirror() -> (Value, Value) {
    (json!({"request_mirror_policies": [{"cluster": "mirrored"}]}), json!({}))
}

fn hedge() -> (Value, Value) {
    let (mut action, filters) = retries_with_a_limit_each();
    // Hedged tries run on until the whole call ends.
    action["timeout"] = json!("4s");
    action["hedge_policy"] = json!({"hedge_on_per_try_timeout": true});
    (action, filters)
}

fn upgrade() -> (Value, Value) {
    (json!({"upgrade_configs": [{"upgrade_type": "websocket"}]}), json!({}))
}

fn direct() -> (Value, Value) {
    (json!({"direct_response": {"status": 503}}), json!({}))
}

fn redirect() -> (Value, Value) {
    (json!({"redirect": {"path_redirect": "/elsewhere"}}), json!({}))
}

fn unknown_cluster() -> (Value, Value) {
    (json!({"cluster_header": "x-cluster"}), json!({}))
}

fn fault() -> Value {
    json!({"@type": format!("{FILTERS}.fault.v3.HTTPFault"),
        "abort": {"http_status": 500, "percentage": {"numerator": 100}}})
}

fn fault_before() -> (Value, Value) {
    (json!({}), json!({"fault-before": fault()}))
}

fn fault_after() -> (Value, Value) {
    (json!({}), json!({"fault-after": fault()}))
}

fn denied_after() -> (Value, Value) {
    let nobody = json!({"rules": {"action": "ALLOW"}});
    let denied = json!({"@type": format!("{FILTERS}.rbac.v3.RBACPerRoute"), "rbac": nobody});
    (json!({}), json!({"denied-after": denied}))
}

fn asked() -> Value {
    json!({"@type": format!("{FILTERS}.ext_authz.v3.ExtAuthzPerRoute"), "check_settings": {}})
}

fn asked_before() -> (Value, Value) {
    (json!({}), json!({"asked-before": asked()}))
}

fn asked_after() -> (Value, Value) {
    (json!({}), json!({"asked-after": asked()}))
}

fn web() -> Value {
    json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}})
}

fn web_before() -> (Value, Value) {
    (json!({}), json!({"web-before": web()}))
}

fn web_after() -> (Value, Value) {
    (json!({}), json!({"web-after": web()}))
}

fn buffer() -> Value {
    json!({"@type": format!("{FILTERS}.buffer.v3.BufferPerRoute"),
        "buffer": {"max_request_bytes": 10}})
}

fn buffer_before() -> (Value, Value) {
    (json!({}), json!({"buffer-before": buffer()}))
}

fn buffer_after() -> (Value, Value) {
    (json!({}), json!({"buffer-after": buffer()}))
}

const H1: (Down, Up) = (Down::Http1, Up::Http1);
const H2: (Down, Up) = (Down::Http2, Up::Http2);
const H12: (Down, Up) = (Down::Http1, Up::Http2);
const H21: (Down, Up) = (Down::Http2, Up::Http1);

const OK: (&str, u16) = ("success", 200);

/// Every row.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // Good answers.
    row("good", H1, "status/200", Stays, OK),
    row("good over http2", H2, "status/200", Stays, OK),
    row("good from http1 to http2", H12, "status/200", Stays, OK),
    row("good from http2 to http1", H21, "status/200", Stays, OK),
    row("client error", H1, "status/404", Stays, ("success", 404)),
    row("client error over http2", H2, "status/404", Stays, ("success", 404)),
    row("slow body", H1, "drip", Stays, OK),
    row("slow body over http2", H2, "drip", Stays, OK),
    row("slow answer", H1, "slow/3300", Stays, ("slow", 200)),
    row("slow answer over http2", H2, "slow/3300", Stays, ("slow", 200)),
    row("100 before the answer", H1, "continue", Stays, OK),
    row("answer before the request ends", H1, "status/200", HoldsRequest, OK),
    row("answer before the request ends over http2", H2, "status/200", HoldsRequest, OK),
    row("slow upload", H1, "body/200", UploadsLate, OK),
    row("slow upload over http2", H21, "body/200", UploadsLate, OK),
    row("answer before the end of a slow upload", H1, "status/200", UploadsLate, OK),
    row("more body than announced", H1, "bytes/more", Stays, OK),
    row("upgrade", H1, "upgrade", Upgrades, ("success", 101)).on(upgrade),
    // No connection.
    row("refused", (Down::Http1, Up::Refused), "", Stays, ("failure", 503)),
    row("refused over http2", (Down::Http2, Up::Refused), "", Stays, ("failure", 503)),
    row("no host", (Down::Http1, Up::Empty), "", Stays, ("failure", 503)),
    row("overflow of Envoy's own limit", (Down::Http1, Up::Full), "", Stays, ("neutral", 503)),
    // Failed answers.
    row("server error", H1, "status/500", Stays, ("failure", 500)),
    row("server error over http2", H2, "status/500", Stays, ("failure", 500)),
    row("closed before headers", H1, "close", Stays, ("failure", 503)),
    row("reset before headers", H1, "reset", Stays, ("failure", 503)),
    row("reset before headers over http2", H2, "reset", Stays, ("failure", 503)),
    row("reset within an upload", H1, "reset", HoldsRequest, ("neutral", 503)),
    row("stream refused over http2", H2, "refuse", Stays, ("failure", 503)),
    row("connection lost before headers over http2", H2, "close", Stays, ("failure", 503)),
    row("closed after headers", H1, "half", Stays, ("failure", 200)),
    row("reset after headers", H1, "half-reset", Stays, ("failure", 200)),
    row("reset after headers over http2", H2, "half-reset", Stays, ("failure", 200)),
    row("reset after headers from http1 to http2", H12, "half-reset", Stays, ("failure", 200)),
    row("connection lost after headers over http2", H2, "half-close", Stays, ("failure", 200)),
    row("closed within a chunk", H1, "bytes/chunk-cut", Stays, ("failure", 200)),
    row("bad chunk size", H1, "bytes/chunk-size", Stays, ("failure", 200)),
    row("shorter than announced over http2", H2, "short", Stays, ("failure", 200)),
    row("garbage", H1, "garbage", Stays, ("failure", 502)),
    row("two lengths", H1, "bytes/two-lengths", Stays, ("failure", 502)),
    row("headers beyond Envoy's limit", H1, "bytes/long-head", Stays, ("failure", 502)),
    row("closed within headers", H1, "bytes/half-head", Stays, ("failure", 502)),
    row("http1 where http2 is spoken", (Down::Http1, Up::Confused), "", Stays, ("failure", 503)),
    // Time.
    row("hang, route timeout", H1, "hang", Stays, ("failure", 504)).on(half_a_second),
    row("hang over http2, route timeout", H2, "hang", Stays, ("failure", 504)).on(half_a_second),
    row("stall, route timeout", H1, "stall", Stays, ("failure", 200)).on(three_seconds),
    row("stall over http2, route timeout", H2, "stall", Stays, ("failure", 200)).on(three_seconds),
    row("hang, idle timeout", H1, "hang", Stays, ("failure", 504)).on(idle),
    row("stall, idle timeout", H1, "stall", Stays, ("neutral", 200)).on(idle),
    row("silent client, idle timeout", H1, "hang", HoldsRequest, ("neutral", 408)).on(idle),
    row("hang, limit of the route's stream", H1, "hang", Stays, ("neutral", 504)).on(stream_limit),
    row("hang, limit of the cluster's stream", (Down::Http1, Up::Limited), "hang", Stays, ("failure", 504)),
    // Clients that leave.
    row("client leaves in its request", H1, "hang", LeavesInRequest, ("neutral", 0)),
    row("client resets in its request, http2", H2, "hang", LeavesInRequest, ("neutral", 0)),
    row("client leaves before the answer", H1, "hang", LeavesBeforeAnswer, ("neutral", 0)),
    row("client resets before the answer, http2", H2, "hang", LeavesBeforeAnswer, ("neutral", 0)),
    row("client cuts its http2 connection", H2, "hang", CutsConnection, ("neutral", 0)),
    row("client leaves at headers", H1, "stall", LeavesAtHeaders, ("neutral", 200)),
    row("client leaves within the answer", H1, "stall", LeavesInAnswer, ("neutral", 200)),
    row("client resets within the answer, http2", H2, "stall", LeavesInAnswer, ("neutral", 200)),
    row("client leaves before the answer, to http2", H12, "hang", LeavesBeforeAnswer, ("neutral", 0)),
    row("client resets within the answer, to http1", H21, "stall", LeavesInAnswer, ("neutral", 200)),
    row("client leaves late in its request", H1, "body/200", LeavesLateInRequest, ("neutral", 0)),
    row("client resets late in its request, http2", H21, "body/200", LeavesLateInRequest, ("neutral", 0)),
    row("client leaves late", H1, "hang", LeavesLate, ("slow", 0)),
    row("client resets late, http2", H2, "hang", LeavesLate, ("slow", 0)),
    // Retries of the route: one call, whatever the tries.
    row("retries, all fail", H1, "status/503", Stays, ("failure", 503)).on(retries).tries(3),
    row("retries, the last is good", H1, "fail-first/2", Stays, OK).on(retries).tries(3),
    row("retries after resets", H1, "reset", Stays, ("failure", 503)).on(retries).tries(3),
    row("retries over http2", H2, "refuse", Stays, ("failure", 503)).on(retries).tries(3),
    row("retries after timeouts", H1, "hang", Stays, ("failure", 504)).on(retries_with_a_limit_each).tries(3),
    row("retries beside each other, all hang", H1, "hang", Stays, ("failure", 504)).on(hedge).tries(3),
    row("mirrored", H1, "status/200", Stays, OK).on(mirror).tries(2),
    // Answers of Envoy and of other filters.
    row("fault filter after ours", H1, "status/200", Stays, ("neutral", 500)).on(fault_after).tries(0),
    row("fault filter before ours", H1, "status/200", Stays, ("", 500)).on(fault_before).tries(0).unseen(),
    row("authorization after ours", H1, "status/200", Stays, ("neutral", 403)).on(denied_after).tries(0),
    row("authorization service after ours denies", H1, "status/200", Stays, ("neutral", 403)).on(asked_after).tries(0),
    row("authorization service before ours denies", H1, "status/200", Stays, ("", 403)).on(asked_before).tries(0).unseen(),
    row("body too large for a filter after ours", H1, "status/200", SendsTooMuch, ("neutral", 413)).on(buffer_after).tries(0),
    row("body too large for a filter before ours", H1, "status/200", SendsTooMuch, ("", 413)).on(buffer_before).tries(0).unseen(),
    row("direct response", (Down::Http1, Up::None), "", Stays, ("neutral", 503)).on(direct),
    row("redirect", (Down::Http1, Up::None), "", Stays, ("neutral", 301)).on(redirect),
    row("unknown cluster", (Down::Http1, Up::None), "", Stays, ("neutral", 503)).on(unknown_cluster),
    // gRPC.
    row("grpc good", H2, "grpc-trailers/0", Stays, OK),
    row("grpc unavailable in trailers", H2, "grpc-trailers/14", Stays, ("failure", 200)),
    row("grpc not found in trailers", H2, "grpc-trailers/5", Stays, OK),
    row("grpc unavailable in headers alone", H2, "grpc/14", Stays, ("failure", 200)),
    row("grpc status that is no number", H2, "grpc-trailers/x", Stays, OK),
    row("grpc without a status", H2, "grpc-none", Stays, ("neutral", 200)),
    row("grpc-web good", H12, "grpc-trailers/0", GrpcWeb, OK).on(web_after),
    row("grpc-web unavailable in its body", H12, "grpc-trailers/14", GrpcWeb, ("failure", 200)).on(web_after),
    row("grpc-web unavailable in headers alone", H12, "grpc/14", GrpcWeb, ("failure", 200)).on(web_after),
    row("grpc-web without a status", H12, "grpc-none", GrpcWeb, ("neutral", 200)).on(web_after),
    row("grpc-web, translated before ours, good", H12, "grpc-trailers/0", GrpcWeb, OK).on(web_before),
    row("grpc-web, translated before ours, unavailable", H12, "grpc-trailers/14", GrpcWeb, ("failure", 200)).on(web_before),
    row("grpc reset", H2, "grpc-reset", Stays, ("failure", 200)),
    row("grpc cancelled", H2, "grpc-stall", LeavesInAnswer, ("neutral", 200)),
];
