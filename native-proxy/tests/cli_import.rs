//! `bimetal import istio`: resources in, a policy document and remarks out.

use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `bimetal` with `args` and `input` on standard input.
fn run(args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bimetal"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// The document, the remarks, and that `check` accepts the former.
fn import(host: &str, yaml: &str) -> (Value, Vec<String>) {
    let (code, out, err) = run(&["import", "istio", "-", "--host", host], yaml);
    assert_eq!(code, 0, "{err}");
    let (accepted, _, complaint) = run(&["check", "-", "--host", host], &out);
    assert_eq!(accepted, 0, "{complaint}\n{out}");
    (serde_json::from_str(&out).unwrap(), err.lines().map(str::to_owned).collect())
}

fn policies(yaml: &str) -> Value {
    import("native", yaml).0["policies"].clone()
}

/// A DestinationRule of `cart` in the namespace `shop` with this traffic policy.
fn rule(policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: cart, namespace: shop}}\n\
         spec: {{host: cart, trafficPolicy: {policy}}}\n"
    )
}

/// A VirtualService of `cart` in the namespace `shop` with these routes.
fn service(routes: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: cart, namespace: shop}}\n\
         spec: {{hosts: [cart], http: {routes}}}\n"
    )
}

const TO_CART: &str = "route: [{destination: {host: cart}}]";

fn tells(remarks: &[String], field: &str, what: &str) {
    let is_it = |line: &String| line.contains(&format!(": spec.{field}: ")) && line.contains(what);
    assert!(remarks.iter().any(is_it), "nothing of {field} with {what:?} in {remarks:#?}");
}

#[test]
fn help_has_an_example() {
    for command in [&["import", "--help"][..], &["import", "istio", "--help"]] {
        let (code, out, _) = run(command, "");
        assert_eq!(code, 0);
        assert!(out.contains("istio"), "{out}");
    }
    let (_, out, _) = run(&["import", "istio", "--help"], "");
    assert!(out.contains("Examples:\n  bimetal import istio "), "{out}");
}

#[test]
fn outlier_detection_becomes_a_breaker() {
    let outlier = "{outlierDetection: {consecutive5xxErrors: 7, interval: 10s, baseEjectionTime: 3m, \
                   maxEjectionPercent: 100, minHealthPercent: 50}}";
    let (document, remarks) = import("native", &rule(outlier));
    let hosts = ["cart", "cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local"];
    let wanted = json!({"version": "v1", "policies": [{
        "name": "cart",
        "match": {"hosts": hosts},
        "breaker": {
            "profile": "istio-outlier",
            "trip": {"consecutive_failures": 7},
            "open": {"base": "3m"},
        },
    }]});
    assert_eq!(document, wanted);
    for field in ["interval", "maxEjectionPercent", "minHealthPercent"] {
        tells(&remarks, &format!("trafficPolicy.outlierDetection.{field}"), "");
    }
    tells(&remarks, "trafficPolicy.outlierDetection", "one endpoint at a time");
    // Nothing is told twice.
    let mut once = remarks.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), remarks.len());
}

/// Of gateway errors and all of 5xx, the number that is reached first opens; 0 never does.
#[test]
fn the_number_that_is_reached_first_opens_the_breaker() {
    let gateway = json!([502, 503, 504]);
    for (given, failures, statuses) in [
        ("consecutiveGatewayErrors: 3, consecutive5xxErrors: 3", 3, None),
        ("consecutiveGatewayErrors: 2, consecutive5xxErrors: 5", 2, Some(&gateway)),
        ("consecutiveGatewayErrors: 7, consecutive5xxErrors: 5", 5, None),
        // Istio's default for 5xx stands beside it.
        ("consecutiveGatewayErrors: 3", 3, Some(&gateway)),
        ("consecutiveGatewayErrors: 9", 5, None),
        ("consecutiveGatewayErrors: 3, consecutive5xxErrors: 0", 3, Some(&gateway)),
        ("interval: 5s", 5, None),
        // Istio does not apply the old name any more (istio/istio 8846: it never meant 500).
        ("consecutiveErrors: 1", 5, None),
    ] {
        let made = policies(&rule(&format!("{{outlierDetection: {{{given}}}}}")));
        let breaker = &made[0]["breaker"];
        assert_eq!(breaker["trip"], json!({"consecutive_failures": failures}), "{given}");
        assert_eq!(breaker["failure"].get("statuses"), statuses, "{given}");
    }
    let none = "{outlierDetection: {consecutive5xxErrors: 0}}";
    let (document, remarks) = import("native", &rule(none));
    assert_eq!(document["policies"], json!([]));
    tells(&remarks, "trafficPolicy.outlierDetection", "ejects nobody");
}

#[test]
fn a_pool_becomes_a_limit_of_calls_with_a_queue() {
    let limit = |pool: &str| {
        let (document, remarks) = import("native", &rule(&format!("{{connectionPool: {pool}}}")));
        (document["policies"][0]["concurrency"].clone(), remarks)
    };
    let (both, remarks) = limit(
        "{tcp: {maxConnections: 100}, http: {http2MaxRequests: 200, http1MaxPendingRequests: 10, maxRequestsPerConnection: 5}}",
    );
    assert_eq!(both, json!({"max": 100, "queue": {"max": 10, "max_wait": "15s"}}));
    tells(&remarks, "trafficPolicy.connectionPool", "smaller");
    tells(
        &remarks,
        "trafficPolicy.connectionPool.http.maxRequestsPerConnection",
        "max_requests_per_connection",
    );
    let (requests, _) = limit("{http: {http2MaxRequests: 200}}");
    assert_eq!(requests, json!({"max": 200, "queue": {"max": 100_000, "max_wait": "15s"}}));
    // Istio does not apply 0: calls wait.
    let (study, remarks) = limit(
        "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 0, maxRequestsPerConnection: 1}}",
    );
    assert_eq!(study, json!({"max": 1, "queue": {"max": 100_000, "max_wait": "15s"}}));
    tells(&remarks, "trafficPolicy.connectionPool.http.http1MaxPendingRequests", "above 0 only");
}

#[test]
fn what_the_filter_cannot_do_is_left_out_for_it() {
    let yaml = rule("{connectionPool: {tcp: {connectTimeout: 100ms, maxConnections: 5}}}")
        + "---\n"
        + &service(&format!(
            "[{{timeout: 5s, retries: {{attempts: 3, perTryTimeout: 2s, retryOn: '503', backoff: 10ms}}, {TO_CART}}}]"
        ));
    let (native, _) = import("native", &yaml);
    let policy = &native["policies"][0];
    assert_eq!(policy["timeout"], json!({"connect": "100ms", "request": "5s", "per_try": "2s"}));
    let retry = json!({"tries": 4, "on": [503], "methods": ["all"], "backoff": {"base": "10ms"}});
    assert_eq!(policy["retry"], retry);
    assert_eq!(policy["concurrency"]["queue"]["max_wait"], "5s");
    let (wasm, remarks) = import("wasm", &yaml);
    let policy = &wasm["policies"][0];
    assert_eq!(policy["timeout"], json!({"request": "5s", "per_try": "2s"}));
    assert_eq!(policy["retry"], json!({"tries": 4, "on": [503], "methods": ["all"]}));
    tells(
        &remarks,
        "trafficPolicy.connectionPool.tcp.connectTimeout",
        "stays the DestinationRule's",
    );
    tells(&remarks, "http[0].retries.backoff", "stays the VirtualService's");
}

/// One policy has what both resources say, since the first that matches decides.
#[test]
fn a_route_has_what_its_destinations_rule_says() {
    let yaml = service(&format!(
        "[{{name: pay, match: [{{uri: {{prefix: /pay}}, method: {{exact: POST}}}}], timeout: 2s, {TO_CART}}}, \
          {{timeout: 5s, {TO_CART}}}]"
    )) + "---\n"
        + &rule("{outlierDetection: {consecutive5xxErrors: 3}}");
    let made = policies(&yaml);
    let names: Vec<_> = made.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    // The second route takes all that the rule is for: the rule needs no policy of its own.
    assert_eq!(names, ["cart-pay", "cart-2"]);
    assert_eq!(made[0]["match"]["path_prefix"], "/pay");
    assert_eq!(made[0]["match"]["methods"], json!(["POST"]));
    for (number, limit) in ["2s", "5s"].into_iter().enumerate() {
        assert_eq!(made[number]["timeout"]["request"], limit);
        assert_eq!(made[number]["breaker"]["trip"]["consecutive_failures"], 3);
    }
    // Where routes leave something over, the rule's policy comes after theirs.
    let some = service(&format!("[{{match: [{{uri: {{exact: /a}}}}], timeout: 2s, {TO_CART}}}]"));
    let made = policies(&(rule("{outlierDetection: {}}") + "---\n" + &some));
    assert_eq!(made[0]["match"]["path"], "/a");
    assert_eq!(made[1]["match"].get("path"), None);
    assert_eq!(made[1]["name"], "cart-2");
}

/// The first policy that matches decides, so a route without limits is kept from the limits of those after it.
#[test]
fn a_route_that_says_nothing_is_kept_from_what_comes_after_it() {
    let routes = format!(
        "[{{match: [{{uri: {{prefix: /export}}}}], {TO_CART}}}, \
          {{match: [{{uri: {{prefix: /old}}}}], redirect: {{uri: /new}}}}, \
          {{match: [{{uri: {{prefix: /pay}}}}], timeout: 1s, {TO_CART}}}, \
          {{match: [{{uri: {{prefix: /last}}}}], {TO_CART}}}]"
    );
    let made = policies(&service(&routes));
    let of = |number: usize| {
        (&made[number]["match"]["path_prefix"], made[number].get("timeout").is_some())
    };
    assert_eq!(made.as_array().unwrap().len(), 3, "{made:#}");
    assert_eq!([of(0), of(1)], [(&json!("/export"), false), (&json!("/old"), false)]);
    assert_eq!(of(2), (&json!("/pay"), true));
    // A rule for all of the host comes after them too, where a route leads elsewhere.
    let far = "[{match: [{uri: {prefix: /far}}], route: [{destination: {host: far}}]}]";
    let made = policies(&(service(far) + "---\n" + &rule("{outlierDetection: {}}")));
    assert_eq!(made[0]["match"]["path_prefix"], "/far");
    assert_eq!((made[0].get("breaker"), made[1].get("breaker").is_some()), (None, true));
    // Alone it is nothing.
    assert_eq!(policies(&service(far)), json!([]));
}

#[test]
fn alternatives_are_policies_and_what_cannot_be_asked_for_is_none() {
    let routes = format!(
        "[{{match: [{{uri: {{prefix: /a}}}}, {{headers: {{x-user: {{exact: gold}}, x-any: {{}}}}}}, \
          {{uri: {{regex: '/b.*'}}}}, {{queryParams: {{v: {{exact: '2'}}}}}}, {{headers: {{x: {{prefix: g}}}}}}], \
          timeout: 1s, {TO_CART}}}]"
    );
    let (document, remarks) = import("native", &service(&routes));
    let made = document["policies"].as_array().unwrap();
    assert_eq!(made.len(), 2, "{document:#}");
    assert_eq!(made[0]["match"]["path_prefix"], "/a");
    assert_eq!(made[1]["match"]["headers"], json!({"x-user": "gold", "x-any": "*"}));
    tells(&remarks, "http[0].match[2].uri.regex", "gets no policy");
    tells(&remarks, "http[0].match[3].queryParams", "gets no policy");
    tells(&remarks, "http[0].match[4].headers.x", "gets no policy");
}

/// `*` alone is the policy language's word for a header that is there: an exact star cannot be asked for.
#[test]
fn an_exact_star_is_no_header_that_is_there() {
    let routes =
        format!("[{{match: [{{headers: {{x: {{exact: '*'}}}}}}], timeout: 1s, {TO_CART}}}]");
    let (document, remarks) = import("native", &service(&routes));
    assert_eq!(document["policies"], json!([]));
    tells(&remarks, "http[0].match[0].headers.x", "exact values");
}

/// A bare name is that of the caller's own namespace, so it is no name of another namespace's service.
#[test]
fn a_service_of_another_namespace_is_not_asked_for_by_its_bare_name() {
    let far =
        rule("{outlierDetection: {}}").replace("host: cart", "host: cart.far.svc.cluster.local");
    let hosts = policies(&far)[0]["match"]["hosts"].clone();
    assert_eq!(hosts, json!(["cart.far", "cart.far.svc", "cart.far.svc.cluster.local"]));
}

/// The rule and the route of `istio/` that give up late become one policy.
#[test]
fn the_patient_rule_and_its_retries_become_one_policy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../istio");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let both = read("destination-rule-patient.yaml") + "\n---\n" + &read("retries.yaml");
    let (document, remarks) = import("native", &both);
    let hosts = [
        "echo-server",
        "echo-server.default",
        "echo-server.default.svc",
        "echo-server.default.svc.cluster.local",
    ];
    let wanted = json!([{
        "name": "echo-server",
        "match": {"hosts": hosts},
        "breaker": {"profile": "istio-outlier", "trip": {"consecutive_failures": 7}, "open": {"base": "3m"}},
        "concurrency": {"max": 100, "queue": {"max": 100_000, "max_wait": "5s"}},
        "timeout": {"connect": "100ms", "request": "5s", "per_try": "2s"},
        "retry": {"tries": 4, "on": ["connect-failure", "refused-stream", "unavailable", "cancelled"],
            "methods": ["all"]},
    }]);
    assert_eq!(document["policies"], wanted);
    tells(&remarks, "http[0].retries", "also POST");
}

#[test]
fn envoys_conditions_are_named_and_strange_ones_told() {
    let retry = |on: &str| {
        let routes = format!("[{{retries: {{attempts: 2, retryOn: '{on}'}}, {TO_CART}}}]");
        let (document, remarks) = import("native", &service(&routes));
        (document["policies"][0]["retry"]["on"].clone(), remarks)
    };
    assert_eq!(retry("5xx").0, json!(["5xx", "connect", "reset", "timeout"]));
    let several = retry("connect-failure, retriable-status-codes,503,unavailable").0;
    assert_eq!(several, json!(["connect-failure", 503, "unavailable"]));
    assert_eq!(
        retry("").0,
        json!(["connect-failure", "refused-stream", "unavailable", "cancelled"])
    );
    let (on, remarks) = retry("retriable-headers,reset");
    assert_eq!(on, json!(["connect", "reset", "timeout"]));
    tells(&remarks, "http[0].retries.retryOn", "retriable-headers");
    tells(&remarks, "http[0].retries", "also POST");
    tells(&remarks, "http[0].retries", "budget");
}

#[test]
fn retries_of_istios_own_are_warned_of_and_none_are_none() {
    let (document, remarks) = import("native", &service(&format!("[{{timeout: 1s, {TO_CART}}}]")));
    assert_eq!(document["policies"][0].get("retry"), None);
    tells(&remarks, "http[0].retries", "twice more");
    let none = format!("[{{timeout: 1s, retries: {{attempts: 0}}, {TO_CART}}}]");
    let (document, remarks) = import("native", &service(&none));
    assert_eq!(document["policies"][0].get("retry"), None);
    assert!(remarks.iter().all(|line| !line.contains("retries")), "{remarks:?}");
    let budget = rule("{retryBudget: {percent: 25, minRetryConcurrency: 5}}");
    let routes = service(&format!("[{{retries: {{attempts: 2}}, {TO_CART}}}]"));
    let (document, remarks) = import("native", &(budget + "---\n" + &routes));
    assert_eq!(document["policies"][0]["retry"]["budget"], json!({"share": 0.25}));
    tells(&remarks, "trafficPolicy.retryBudget.minRetryConcurrency", "not at once");
}

#[test]
fn faults_are_left_out_with_a_sentence() {
    let routes = format!(
        "[{{fault: {{abort: {{httpStatus: 500, percentage: {{value: 20}}}}}}, timeout: 1s, {TO_CART}}}]"
    );
    let (document, remarks) = import("native", &service(&routes));
    assert!(!document.to_string().contains("fault"));
    tells(&remarks, "http[0].fault", "count_injected");
}

#[test]
fn a_narrower_host_comes_before_a_wider_one() {
    let of = |name: &str, host: &str| {
        format!(
            "apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {{name: {name}}}\n\
             spec: {{host: '{host}', trafficPolicy: {{outlierDetection: {{}}}}}}\n---\n"
        )
    };
    let yaml = of("all", "*") + &of("wide", "*.example.com") + &of("one", "api.example.com");
    let made = policies(&yaml);
    let names: Vec<_> = made.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["one", "wide", "all"]);
    assert_eq!(made[2].get("match"), None);
    assert_eq!(made[0]["match"]["hosts"], json!(["api.example.com"]));
}

#[test]
fn names_are_made_legal_and_unique() {
    let of = |namespace: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: 'a:b', namespace: {namespace}}}\n\
             spec: {{host: c, trafficPolicy: {{outlierDetection: {{}}}}}}\n---\n"
        )
    };
    let made = policies(&(of("one") + &of("two")));
    assert_eq!((&made[0]["name"], &made[1]["name"]), (&json!("a-b"), &json!("a-b-2")));
    assert_eq!(made[1]["match"]["hosts"][1], "c.two");
}

/// Every field of a resource is carried over or told, also one that nobody knows.
#[test]
fn no_field_goes_without_a_word() {
    let (_, remarks) = import(
        "native",
        &rule(
            "{loadBalancer: {simple: RANDOM}, tls: {mode: DISABLE}, novel: 1, outlierDetection: {}}",
        ),
    );
    tells(&remarks, "trafficPolicy.loadBalancer.simple", "`balance`");
    tells(&remarks, "trafficPolicy.tls", "Envoy");
    tells(&remarks, "trafficPolicy.novel", "nothing is known");
}

#[test]
fn values_beyond_the_languages_are_told() {
    let long = "{outlierDetection: {baseEjectionTime: 48h}}";
    let (document, remarks) = import("native", &rule(long));
    assert_eq!(document["policies"][0]["breaker"].get("open"), None);
    tells(&remarks, "trafficPolicy.outlierDetection.baseEjectionTime", "48h");
    let bad = format!("[{{match: [{{uri: {{exact: 'no-slash'}}}}], timeout: 1s, {TO_CART}}}]");
    let (document, remarks) = import("native", &service(&bad));
    assert_eq!(document["policies"], json!([]));
    assert!(remarks.iter().any(|line| line.contains("gets no policy: match.path")), "{remarks:?}");
    // A limit of nothing is none.
    let none = format!("[{{timeout: 0s, retries: {{attempts: 0}}, {TO_CART}}}]");
    assert_eq!(policies(&service(&none)), json!([]));
}

#[test]
fn lists_json_and_several_files_are_read() {
    let item = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"host": "a", "trafficPolicy": {"outlierDetection": {}}}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [item, {"apiVersion": "v1", "kind": "Service"}]});
    let (document, remarks) = import("native", &list.to_string());
    assert_eq!(document["policies"].as_array().unwrap().len(), 1);
    assert!(
        remarks.iter().any(|line| line.starts_with("Service default/unnamed: is not looked at"))
    );
    let (code, out, _) = run(&["import", "istio", "-", "--json"], &list.to_string());
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["document"]), (0, &document));
    assert_eq!(answer["remarks"][0]["resource"], "Service default/unnamed");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../istio");
    let files = ["destination-rule.yaml", "fault-delay.yaml"]
        .map(|file| folder.join(file).display().to_string());
    let (code, out, err) = run(&["import", "istio", &files[0], &files[1]], "");
    assert_eq!(code, 0, "{err}");
    // The route says nothing by itself, and goes to what the rule is for.
    let made: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(made["policies"].as_array().unwrap().len(), 1);
    assert_eq!(made["policies"][0]["breaker"]["trip"]["consecutive_failures"], 3);
    assert!(err.contains("fault"), "{err}");
}

#[test]
fn the_manifests_of_this_repository_become_documents_that_check_accepts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../istio");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let ours = ["kind: DestinationRule", "kind: VirtualService"];
        if !ours.iter().any(|kind| text.contains(kind))
            || file.extension().is_none_or(|end| end != "yaml")
        {
            continue;
        }
        read += 1;
        for host in ["native", "wasm"] {
            import(host, &text);
        }
    }
    assert!(read >= 4, "{read}");
}

/// Istio's own samples, where they are here (`cargo xtask schemas`): each becomes a document that check accepts. They say
/// little that a policy could say: routes by weights, subsets, and TLS.
#[test]
fn istios_own_samples_are_read() {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(std::path::PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    let Ok(samples) = std::fs::read_to_string(target.join("tools/schemas/istio-samples.yaml"))
    else {
        println!("skipped: Istio's samples are not here (cargo xtask schemas)");
        return;
    };
    assert!(samples.matches("kind: VirtualService").count() > 20, "these are no samples");
    for host in ["native", "wasm"] {
        let (_, remarks) = import(host, &samples);
        for (field, what) in [
            ("http[0].fault", "count_injected"),
            ("http[0].route[0].weight", "routing"),
            ("trafficPolicy.loadBalancer.simple", "`balance`"),
            ("subsets[0].labels", "subsets"),
            ("tcp", "HTTP"),
        ] {
            tells(&remarks, field, what);
        }
        assert!(!remarks.iter().any(|line| line.contains("nothing is known")), "{remarks:#?}");
    }
}

#[test]
fn wrong_input_is_told_with_its_file() {
    let missing = run(&["import", "istio", "no-such-file.yaml"], "");
    assert!(missing.0 == 2 && missing.2.contains("no-such-file.yaml: no such file"), "{missing:?}");
    for (input, told) in [
        ("a: [", "-: not readable as YAML"),
        ("a: 1", "no `apiVersion` and `kind`"),
        ("", "there is no DestinationRule"),
        ("apiVersion: v1\nkind: Service\n", "there is no DestinationRule"),
        (
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nspec: {}\n",
            "has no spec.host",
        ),
        ("apiVersion: v1\nkind: List\n", "has no `items`"),
    ] {
        let (code, out, err) = run(&["import", "istio", "-"], input);
        assert_eq!((code, out.as_str()), (2, ""), "{input}");
        assert!(err.contains(told), "{input}: {err}");
        let (code, out, _) = run(&["import", "istio", "-", "--json"], input);
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert!(code == 2 && answer["error"].as_str().unwrap().contains(told), "{out}");
    }
    assert_eq!(run(&["import", "istio"], "").0, 2);
}
