//! The `OTEL_*` variables of OpenTelemetry's specification that are heeded here; they win over the
//! file. `OTEL_EXPORTER_OTLP_HEADERS`, `_TIMEOUT` and `_ENDPOINT` are read by the exporters
//! themselves.

use crate::config::{Exporter, Telemetry};
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use std::str::FromStr;
use std::time::Duration;

/// Spans that may wait, where `OTEL_BSP_MAX_QUEUE_SIZE` says nothing: a few MiB. The standard's
/// 2,048 would not last for a second of what one worker can serve.
const QUEUE: usize = 65_536;

/// The standard's own values for the rest of `OTEL_BSP_*`.
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(5);
const EXPORT_WAIT: Duration = Duration::from_secs(30);

/// What the variables say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Environment {
    is_disabled: bool,
    exporter: Option<Wanted>,
    protocol: Option<Exporter>,
    sampling: Option<Sampling>,
    service_name: Option<String>,
    endpoints: Vec<String>,
    /// Spans that may wait to be written or sent.
    pub queue: usize,
    /// Most spans that are sent at once.
    pub batch: usize,
    /// How long a span may wait for others.
    pub delay: Duration,
    /// How long sending may take.
    pub export_wait: Duration,
    /// What could not be understood, and is as good as not set.
    pub warnings: Vec<String>,
}

/// What `OTEL_TRACES_EXPORTER` wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// `otlp`: by the protocol that is said elsewhere.
    Otlp,
    This(Exporter),
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// Whether a caller that says so decides.
    pub follows_caller: bool,
    /// The share of the others.
    pub share: f64,
}

impl Environment {
    /// The variables of this process.
    pub(crate) fn read() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// The variables that `variable` gives.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut reader = Reader { variable, warnings: Vec::new() };
        let text = |name| reader.text(name);
        let is_disabled =
            text("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let endpoints = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        let endpoints = endpoints.into_iter().filter_map(text).collect();
        let service_name = text("OTEL_SERVICE_NAME").or_else(|| {
            let all = text("OTEL_RESOURCE_ATTRIBUTES")?;
            let pairs = all.split(',').filter_map(|pair| pair.split_once('='));
            let mut names = pairs.filter(|(key, _)| key.trim() == "service.name");
            names.next().map(|(_, value)| value.trim().to_owned())
        });
        let exporter = reader.one("OTEL_TRACES_EXPORTER", |name| match name {
            "otlp" => Some(Wanted::Otlp),
            // Standard output is for OTLP alone: what else could be read by a program?
            "console" | "otlp/stdout" => Some(Wanted::This(Exporter::OtlpStdout)),
            name => {
                let known = Exporter::ALL.into_iter().find(|one| one.name() == name);
                known.map(Wanted::This)
            }
        });
        let protocol = |name: &str| match name {
            "grpc" => Some(Exporter::OtlpGrpc),
            "http/protobuf" | "http/json" => Some(Exporter::OtlpHttp),
            _ => None,
        };
        let protocol = reader
            .one("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol)
            .or_else(|| reader.one("OTEL_EXPORTER_OTLP_PROTOCOL", protocol));
        let sampling = reader.sampling();
        let queue = reader.number("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(QUEUE).max(1);
        let batch = reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(BATCH);
        Self {
            is_disabled,
            exporter,
            protocol,
            sampling,
            service_name,
            endpoints,
            queue,
            batch: batch.clamp(1, queue),
            delay: reader.millis("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(DELAY),
            export_wait: reader.millis("OTEL_BSP_EXPORT_TIMEOUT").unwrap_or(EXPORT_WAIT),
            warnings: reader.warnings,
        }
    }

    /// Where traces go.
    pub(crate) fn exporter(&self, file: Exporter) -> Exporter {
        let wanted = match self.exporter {
            _ if self.is_disabled => Exporter::None,
            None => file,
            Some(Wanted::This(exporter)) => exporter,
            Some(Wanted::Otlp) => match file {
                Exporter::OtlpGrpc => Exporter::OtlpGrpc,
                _ => Exporter::OtlpHttp,
            },
        };
        match (wanted, self.protocol) {
            (Exporter::OtlpHttp | Exporter::OtlpGrpc, Some(protocol)) => protocol,
            _ => wanted,
        }
    }

    /// The collector that the file names, where no variable does.
    ///
    /// # Errors
    /// A variable wants TLS.
    pub(crate) fn endpoint<'a>(&self, file: &'a Telemetry) -> Result<Option<&'a str>, String> {
        match self.endpoints.first() {
            None => Ok(file.endpoint.as_deref()),
            Some(url) if url.starts_with("https:") => Err(format!(
                "traces: {url}: the proxy reaches a collector only without TLS; run a collector beside it \
                 that forwards with TLS"
            )),
            Some(_) => Ok(None),
        }
    }

    /// Which traces are recorded.
    pub(crate) fn sampling(&self, share: f64) -> Sampling {
        self.sampling.unwrap_or(Sampling { follows_caller: true, share })
    }

    /// Whose spans they are.
    pub(crate) fn resource(&self, service_name: &str) -> Resource {
        let name = self.service_name.as_deref().unwrap_or(service_name).to_owned();
        Resource::builder_empty()
            .with_detectors(&[
                Box::new(TelemetryResourceDetector),
                Box::new(EnvResourceDetector::new()),
            ])
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_service_name(name)
            .build()
    }
}

/// Reads variables; an empty one is as good as not set.
struct Reader<F> {
    variable: F,
    warnings: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A value that `read` knows; another is told of and ignored.
    fn one<T>(&mut self, name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let found = read(&text);
        if found.is_none() {
            self.warnings.push(format!("{name}: {text:?} is not known here, and is ignored"));
        }
        found
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Option<T> {
        self.one(name, |text| text.parse().ok())
    }

    fn millis(&mut self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    fn sampling(&mut self) -> Option<Sampling> {
        let (follows_caller, share) = self.one("OTEL_TRACES_SAMPLER", |name| {
            let root = name.strip_prefix("parentbased_");
            let share = match root.unwrap_or(name) {
                "always_on" => Some(1.0),
                "always_off" => Some(0.0),
                "traceidratio" => None,
                _ => return None,
            };
            Some((root.is_some(), share))
        })?;
        let in_range = |text: &str| text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        let share = match share {
            Some(share) => share,
            None => self.one("OTEL_TRACES_SAMPLER_ARG", in_range).unwrap_or(1.0),
        };
        Some(Sampling { follows_caller, share })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(set: &[(&str, &str)]) -> Environment {
        Environment::of(|name| {
            let found = set.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_variables_the_file_decides() {
        let none = environment(&[("OTEL_TRACES_EXPORTER", ""), ("OTEL_BSP_MAX_QUEUE_SIZE", " ")]);
        for exporter in
            [Exporter::None, Exporter::OtlpStdout, Exporter::OtlpHttp, Exporter::OtlpGrpc]
        {
            assert_eq!(none.exporter(exporter), exporter);
        }
        assert_eq!(none.sampling(0.25), Sampling { follows_caller: true, share: 0.25 });
        assert_eq!((none.queue, none.batch), (QUEUE, BATCH));
        assert_eq!((none.delay, none.export_wait), (DELAY, EXPORT_WAIT));
        let file = Telemetry { endpoint: Some("http://a:1".into()), ..Telemetry::default() };
        assert_eq!(none.endpoint(&file), Ok(Some("http://a:1")));
        assert_eq!(none.warnings, [""; 0]);
    }

    #[test]
    fn a_variable_wins_over_the_file() {
        use Exporter::{None as Nowhere, OtlpGrpc, OtlpHttp, OtlpStdout};
        const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
        const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
        for (set, file, wanted) in [
            (&[(EXPORTER, "none")][..], OtlpStdout, Nowhere),
            (&[(EXPORTER, "otlp")], Nowhere, OtlpHttp),
            (&[(EXPORTER, "otlp")], OtlpStdout, OtlpHttp),
            (&[(EXPORTER, "otlp")], OtlpGrpc, OtlpGrpc),
            (&[(EXPORTER, "otlp"), (PROTOCOL, "grpc")], Nowhere, OtlpGrpc),
            (&[(PROTOCOL, "grpc")], OtlpHttp, OtlpGrpc),
            (&[(PROTOCOL, "http/json")], OtlpGrpc, OtlpHttp),
            (&[(PROTOCOL, "grpc")], OtlpStdout, OtlpStdout),
            (
                &[(PROTOCOL, "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")],
                OtlpGrpc,
                OtlpHttp,
            ),
            (&[(EXPORTER, "console")], Nowhere, OtlpStdout),
            (&[(EXPORTER, "otlp_grpc")], Nowhere, OtlpGrpc),
            (&[(EXPORTER, "otlp"), ("OTEL_SDK_DISABLED", "TRUE")], OtlpStdout, Nowhere),
            (&[("OTEL_SDK_DISABLED", "1")], OtlpStdout, OtlpStdout),
        ] {
            assert_eq!(environment(set).exporter(file), wanted, "{set:?}");
        }
    }

    #[test]
    fn samplers_have_their_standard_names() {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        const SHARE: &str = "OTEL_TRACES_SAMPLER_ARG";
        for (set, follows_caller, share) in [
            (&[(SAMPLER, "always_on")][..], false, 1.0),
            (&[(SAMPLER, "always_off"), (SHARE, "0.5")], false, 0.0),
            (&[(SAMPLER, "traceidratio"), (SHARE, "0.5")], false, 0.5),
            (&[(SAMPLER, "parentbased_always_on")], true, 1.0),
            (&[(SAMPLER, "parentbased_always_off")], true, 0.0),
            (&[(SAMPLER, "parentbased_traceidratio"), (SHARE, "0.1")], true, 0.1),
            (&[(SAMPLER, "parentbased_traceidratio"), (SHARE, "1.5")], true, 1.0),
            (&[(SAMPLER, "parentbased_traceidratio")], true, 1.0),
            (&[(SAMPLER, "jaeger_remote")], true, 0.3),
            (&[(SHARE, "0.9")], true, 0.3),
        ] {
            let told = environment(set).sampling(0.3);
            assert_eq!(told, Sampling { follows_caller, share }, "{set:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_told_of_and_ignored() {
        let wrong = environment(&[
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http"),
            ("OTEL_TRACES_SAMPLER", "most"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ]);
        assert_eq!(Environment { warnings: Vec::new(), ..wrong.clone() }, environment(&[]));
        let warned = |text: &String| text.ends_with(" is not known here, and is ignored");
        assert_eq!(wrong.warnings.iter().filter(|text| warned(text)).count(), 4, "{wrong:?}");
    }

    #[test]
    fn sending_is_bounded_as_the_variables_say() {
        let set = environment(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512"),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "30"),
        ]);
        assert_eq!((set.queue, set.batch), (100, 100));
        let millis = Duration::from_millis;
        assert_eq!((set.delay, set.export_wait), (millis(20), millis(30)));
    }

    #[test]
    fn a_collector_behind_tls_is_refused_and_another_wins() {
        let file = Telemetry { endpoint: Some("http://a:1".into()), ..Telemetry::default() };
        let at = |url| environment(&[("OTEL_EXPORTER_OTLP_ENDPOINT", url)]);
        assert_eq!(at("http://b:2").endpoint(&file), Ok(None));
        assert!(at("https://b:2").endpoint(&file).unwrap_err().contains("https://b:2"));
    }

    #[test]
    fn the_service_has_the_name_that_was_said_last() {
        let name = |set: &[(&str, &str)]| {
            let resource = environment(set).resource("file");
            resource.get_ref(&"service.name".into()).unwrap().to_string()
        };
        const ATTRIBUTES: (&str, &str) = ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name = c");
        assert_eq!(name(&[]), "file");
        assert_eq!(name(&[ATTRIBUTES]), "c");
        assert_eq!(name(&[ATTRIBUTES, ("OTEL_SERVICE_NAME", "d")]), "d");
    }
}
