//! `POST /breakers/{policy}/{scope}`: what an operator orders.

use super::asked::{self, Refused};
use super::{Answer, gather, json_of, row, text};
use crate::history::What;
use crate::proxy::Shared;
use crate::worker::Command;
use bimetal_core::breaker::Order;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use tracing::{info, warn};

/// The longest body of an order.
const LONGEST_BODY: usize = 4096;

/// What a request's body says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    action: String,
}

/// Carries out the order of a request that came from `by`.
pub(super) async fn order(shared: &Shared, request: Request<Incoming>, by: IpAddr) -> Answer {
    let settings = shared.settings();
    let token_file = settings.operators.token_file.as_deref();
    if let Err(why) = asked::may_control(request.headers(), token_file) {
        warn!("an order from {by} is refused: {}", told(why));
        return refused(why);
    }
    let Some(name) = row::named(request.uri().path()) else {
        return text(StatusCode::NOT_FOUND, "no breaker has this path\n");
    };
    let order = match read(request).await {
        Ok(order) => order,
        Err(answer) => return *answer,
    };
    let name = Arc::new(name);
    match gather::ask(shared, |reply| Command::HasBreaker(name.clone(), reply)).await {
        Ok(known) if known.contains(&true) => {}
        Ok(_) => return text(StatusCode::NOT_FOUND, "there is no such breaker\n"),
        Err(busy) => return text(StatusCode::SERVICE_UNAVAILABLE, &busy),
    }
    let (policy, key) = &*name;
    let scope: String = key.escape_ascii().map(char::from).collect();
    let action = order.name();
    info!(policy, scope, action, "breaker {policy}, scope {scope}: {action} was ordered from {by}");
    let at = shared.clock.now();
    shared.history.add(at, &Arc::from(&**policy), scope, What::Ordered(order, by));
    let done = gather::ask(shared, |reply| Command::Order(name.clone(), order, reply)).await;
    let workers = match done {
        Ok(done) => done.into_iter().filter(|done| *done).count(),
        Err(busy) => return text(StatusCode::SERVICE_UNAVAILABLE, &busy),
    };
    let scope = String::from_utf8_lossy(key);
    json_of(&json!({"policy": policy, "scope": scope, "action": action, "workers": workers}))
}

async fn read(request: Request<Incoming>) -> Result<Order, Box<Answer>> {
    let wrong = |status, what: &str| Box::new(text(status, what));
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let what = "the content-type is to be application/json\n";
        return Err(wrong(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    }
    let body = Limited::new(request.into_body(), LONGEST_BODY).collect().await;
    let Ok(body) = body else {
        return Err(wrong(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or broke off\n"));
    };
    let ordered: Ordered = serde_json::from_slice(&body.to_bytes())
        .map_err(|error| wrong(StatusCode::BAD_REQUEST, &format!("not an order: {error}\n")))?;
    Order::named(&ordered.action).ok_or_else(|| {
        let known = Order::ALL.map(Order::name).join(", ");
        wrong(StatusCode::BAD_REQUEST, &format!("there is no such action; there are {known}\n"))
    })
}

const fn told(why: Refused) -> &'static str {
    match why {
        Refused::CrossSite => "it comes from a page of another site",
        Refused::NoControl => "this proxy has no admin.token_file, so nobody controls it",
        Refused::NoToken => "the token's file cannot be read, or is empty",
        Refused::WrongToken => "its token is missing or another",
    }
}

fn refused(why: Refused) -> Answer {
    let status = match why {
        Refused::CrossSite | Refused::NoControl => StatusCode::FORBIDDEN,
        Refused::NoToken => StatusCode::SERVICE_UNAVAILABLE,
        Refused::WrongToken => StatusCode::UNAUTHORIZED,
    };
    let mut answer = text(status, &format!("{}\n", told(why)));
    if why == Refused::WrongToken {
        let scheme = HeaderValue::from_static("Bearer realm=\"bimetal\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    answer
}
