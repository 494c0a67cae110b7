//! Reading one call of a scenario file: what the client and the upstream do.

use super::raw::{RawClient, RawReply, RawStep, RawUpstream, Span};
use super::{Answer, Call, Media, Reply, Upstream};
use std::time::Duration;

/// Informational heads of one call.
const MOST_INFORMATIONAL: u32 = 1_000;

/// A step's call.
pub(super) fn read_call(raw: RawStep) -> Result<Call, String> {
    let call = raw.call.ok_or("it needs call: METHOD PATH, or load")?;
    let times = raw.times.unwrap_or(1);
    if times == 0 {
        return Err("times: 0 makes no call; leave the step out".to_owned());
    }
    let (method, path) = call.split_once(' ').ok_or("call is METHOD PATH")?;
    let (earlier, upstream) = read_tries(raw.upstream, raw.tries)?;
    if !earlier.is_empty() && (raw.upload.is_some() || raw.abort.is_some()) {
        return Err("tries: the client of several sends all at once, and waits".to_owned());
    }
    let upload = read_upload(raw.upload, &upstream)?;
    let abort = raw.abort.map(|abort| abort.0);
    let answers = !matches!(upstream, Upstream::Hangs | Upstream::TakesNothing);
    if times > 1 && !answers && abort.is_none() {
        let why =
            "the first of these calls may keep the others waiting for ever; write a step for each";
        return Err(format!("times: {times}: {why}"));
    }
    let expect = raw.expect.ok_or(
        "it needs expect: admitted, passed, undecided, given up by RULE or rejected by RULE",
    )?;
    let rule = expect.strip_prefix("rejected by ");
    let given_up = expect.strip_prefix("given up by ");
    let answer = match (rule.or(given_up), expect.as_str(), raw.client) {
        (Some(rule), _, client) => rejected(rule, client)?,
        (None, "admitted" | "passed", Some(RawClient::Status(status))) => Answer::Status(status),
        (None, "admitted" | "passed", Some(RawClient::Text(text))) => named_answer(&text)?,
        (None, "undecided", None) if abort.is_some() => Answer::Gone,
        (None, "undecided", None) => Answer::Waiting,
        (None, "admitted" | "passed", None) if abort.is_some() => Answer::Gone,
        (None, "admitted" | "passed", None) => usual_answer(&upstream),
        _ => {
            return Err(format!(
                "expect: {expect} is not admitted, passed, undecided, given up by RULE, rejected by \
                 RULE"
            ));
        }
    };
    let headers = raw.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value));
    Ok(Call {
        times,
        method: method.to_owned(),
        path: path.to_owned(),
        host: raw.host.unwrap_or_else(|| "echo".to_owned()),
        headers: headers.collect(),
        upload,
        earlier,
        upstream,
        abort,
        expect: answer,
        reaches_upstream: rule.is_none() && expect != "undecided" && upstream.sees_the_call(),
    })
}

fn read_upload(upload: Option<Span>, upstream: &Upstream) -> Result<Duration, String> {
    let early = match upstream {
        Upstream::Answers(reply) => reply.early,
        Upstream::Resets { early } => *early,
        _ => false,
    };
    match upload {
        None if early => {
            Err("upstream: what it does early needs an upload that is not over by then".to_owned())
        }
        None => Ok(Duration::ZERO),
        Some(Span(Duration::ZERO)) => Err("upload: 0s is what it is without it".to_owned()),
        Some(_) if !upstream.takes_after().is_zero() => {
            Err("upload: the upstream takes nothing, so its time cannot be kept".to_owned())
        }
        Some(Span(upload)) => Ok(upload),
    }
}

/// What the upstream does with all tries but the last, and with that.
fn read_tries(
    upstream: Option<RawUpstream>,
    tries: Vec<RawUpstream>,
) -> Result<(Vec<Upstream>, Upstream), String> {
    if tries.is_empty() {
        return Ok((Vec::new(), read_upstream(upstream)?));
    }
    if upstream.is_some() || tries.len() == 1 {
        return Err("tries: two or more, in place of upstream".to_owned());
    }
    let tries = tries.into_iter().map(|one| read_upstream(Some(one)));
    let mut tries = tries.collect::<Result<Vec<_>, _>>()?;
    let can_be_told_apart = |upstream: &Upstream| {
        matches!(
            upstream,
            Upstream::Answers(_) | Upstream::Hangs | Upstream::Resets { early: false }
        )
    };
    match tries.pop() {
        Some(last) if tries.iter().chain([&last]).all(can_be_told_apart) => Ok((tries, last)),
        _ => Err("tries: each answers, hangs or resets before headers".to_owned()),
    }
}

fn read_upstream(raw: Option<RawUpstream>) -> Result<Upstream, String> {
    match raw {
        None => read_reply(&RawReply::default()),
        Some(RawUpstream::Status(status)) => {
            read_reply(&RawReply { status: Some(status), ..RawReply::default() })
        }
        Some(RawUpstream::Text(text)) => named_upstream(&text),
        Some(RawUpstream::Reply(reply)) => match (reply.injected, reply.denied) {
            (None, None) => read_reply(&reply),
            (injected, denied) => {
                if reply != (RawReply { injected, ..RawReply::default() })
                    && reply != (RawReply { denied, ..RawReply::default() })
                {
                    return Err("upstream: injected and denied stand alone".to_owned());
                }
                match (injected, denied) {
                    (Some(status), _) => Ok(Upstream::Injected { status: final_status(status)? }),
                    (_, status) => {
                        Ok(Upstream::Denied { status: final_status(status.unwrap_or(403))? })
                    }
                }
            }
        },
    }
}

fn read_reply(raw: &RawReply) -> Result<Upstream, String> {
    let span = |span: Option<Span>| span.map_or(Duration::ZERO, |span| span.0);
    let after = span(raw.after);
    let informs_every = raw.informs_every.map(|every| every.0);
    if let Some(every) = informs_every {
        if every.is_zero() || every >= after {
            return Err("upstream: informs_every is longer than 0s and shorter than after".into());
        }
        if every * MOST_INFORMATIONAL < after {
            let most = MOST_INFORMATIONAL;
            return Err(format!("upstream: informs_every makes more than {most} heads"));
        }
    }
    let media = match (raw.media.as_deref(), raw.grpc_status) {
        (None, None) => Media::Plain,
        (None, Some(_)) => Media::GrpcHeaders,
        (Some("grpc"), _) => Media::Grpc,
        (Some("grpc-web"), _) => Media::GrpcWeb,
        (Some("events"), None) => Media::Events,
        (Some("events"), Some(_)) => {
            return Err("upstream: events have no grpc_status".to_owned());
        }
        (Some(other), _) => {
            return Err(format!("upstream: media: {other} is not grpc, grpc-web, events"));
        }
    };
    if media == Media::GrpcHeaders && (raw.breaks || raw.body.is_some()) {
        let why = "an answer of headers alone has no body; media says where else a status stands";
        return Err(format!("upstream: grpc_status: {why}"));
    }
    let status = final_status(raw.status.unwrap_or(200))?;
    if media != Media::Plain && status != 200 {
        return Err(format!("upstream: the status of gRPC and of events is 200, not {status}"));
    }
    Ok(Upstream::Answers(Reply {
        status,
        after,
        body: span(raw.body),
        early: raw.early,
        breaks: raw.breaks,
        takes_after: span(raw.takes_after),
        informs_every,
        retry_after: raw.retry_after,
        media,
        grpc_status: raw.grpc_status,
    }))
}

/// A status that ends an exchange: no host could be told to send another.
fn final_status(status: u16) -> Result<u16, String> {
    match status {
        200..=599 => Ok(status),
        _ => Err(format!("upstream: {status} is no final status, 200 to 599")),
    }
}

fn named_upstream(text: &str) -> Result<Upstream, String> {
    match text {
        "refuses" => Ok(Upstream::Refuses),
        "hangs" => Ok(Upstream::Hangs),
        "takes nothing" => Ok(Upstream::TakesNothing),
        "resets before headers" => Ok(Upstream::Resets { early: false }),
        "resets within the upload" => Ok(Upstream::Resets { early: true }),
        "resets after headers" => read_reply(&RawReply { breaks: true, ..RawReply::default() }),
        _ => Err(format!(
            "upstream: {text} is not a status, {{status, after, body, early, breaks, takes_after, \
             informs_every, retry_after, media, grpc_status}}, {{injected}}, {{denied}}, refuses, \
             hangs, takes nothing, resets before headers, resets within the upload, resets after \
             headers"
        )),
    }
}

fn rejected(rule: &str, client: Option<RawClient>) -> Result<Answer, String> {
    let status = match client {
        None => 503,
        Some(RawClient::Status(status)) => status,
        Some(RawClient::Text(text)) => return Err(format!("client: {text} is no status")),
    };
    Ok(Answer::Rejected { status, rule: rule.to_owned() })
}

fn named_answer(text: &str) -> Result<Answer, String> {
    match text {
        "error" => Ok(Answer::Error),
        "broken" => Ok(Answer::Broken),
        "gone" => Ok(Answer::Gone),
        "waiting" => Ok(Answer::Waiting),
        _ => Err(format!("client: {text} is not a status, error, broken, gone, waiting")),
    }
}

const fn usual_answer(upstream: &Upstream) -> Answer {
    match upstream {
        Upstream::Answers(reply) if reply.breaks => Answer::Broken,
        Upstream::Answers(Reply { status, .. })
        | Upstream::Injected { status }
        | Upstream::Denied { status } => Answer::Status(*status),
        Upstream::Refuses | Upstream::Hangs | Upstream::TakesNothing | Upstream::Resets { .. } => {
            Answer::Error
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_text;

    /// How a step is read: refused with a reason, or `accepted`.
    fn read(rest: &str) -> String {
        let step = format!("{{step: 1, at: 0s, call: POST /echo, expect: admitted, {rest}}}");
        match read_text("s", &format!("title: t\npolicies: []\nsteps:\n  - {step}\nlog: ''\n")) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_a_client_or_an_upstream_cannot_do_is_refused() {
        for (rest, why) in [
            ("upstream: sleeps", "sleeps is not a status, {status, after, body, early"),
            ("upstream: 101", "101 is no final status"),
            ("upstream: {injected: 600}", "600 is no final status"),
            ("upstream: {denied: 99}", "99 is no final status"),
            ("upstream: {denied: 403, after: 1s}", "stand alone"),
            ("upstream: {denied: 403, injected: 503}", "stand alone"),
            ("upload: 0s", "0s is what it is without it"),
            ("upload: 1s, upstream: takes nothing", "its time cannot be kept"),
            ("upload: 1s, upstream: {takes_after: 1s}", "its time cannot be kept"),
            ("upstream: {early: true}", "needs an upload"),
            ("upstream: resets within the upload", "needs an upload"),
            ("upstream: {after: 1s, informs_every: 0s}", "longer than 0s"),
            ("upstream: {after: 1s, informs_every: 1s}", "shorter than after"),
            ("upstream: {informs_every: 1s}", "shorter than after"),
            ("upstream: {after: 3600s, informs_every: 1ms}", "more than 1000 heads"),
            ("upstream: {media: soap}", "soap is not grpc, grpc-web, events"),
            ("upstream: {media: events, grpc_status: 0}", "events have no grpc_status"),
            ("upstream: {media: grpc, status: 500}", "is 200, not 500"),
            ("upstream: {grpc_status: 0, body: 1s}", "headers alone has no body"),
            ("upstream: {grpc_status: 0, breaks: true}", "headers alone has no body"),
            ("upstream: takes nothing, times: 2", "waiting for ever"),
            ("tries: [503]", "two or more"),
            ("tries: [503, 200], upstream: 200", "in place of upstream"),
            ("tries: [refuses, 200]", "each answers, hangs or resets"),
            ("tries: [503, 200], abort: 1s", "and waits"),
        ] {
            let refused = read(rest);
            assert!(refused.contains(why), "{rest}: {refused}");
        }
    }

    #[test]
    fn what_they_can_do_is_accepted() {
        for rest in [
            "upload: 2s",
            "upload: 2s, abort: 1s",
            "upload: 2s, upstream: {status: 413, early: true, breaks: true}",
            "upload: 2s, upstream: resets within the upload",
            "upstream: takes nothing",
            "upstream: takes nothing, times: 2, abort: 1s",
            "upstream: {takes_after: 1s}",
            "upstream: {after: 1s, informs_every: 200ms}",
            "upstream: {media: grpc, grpc_status: 14, body: 1s}",
            "upstream: {media: grpc-web}",
            "upstream: {media: events, body: 1s, breaks: true}",
            "upstream: {denied: 403}",
            "tries: [503, {status: 503, retry_after: 1}, hangs, resets before headers, 200]",
        ] {
            assert_eq!(read(rest), "accepted", "{rest}");
        }
    }
}
