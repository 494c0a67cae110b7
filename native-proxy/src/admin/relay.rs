//! Others that a dashboard shows beside this proxy, as `admin.watch` names them.
//!
//! A browser could not ask them itself: the page's policy lets it speak to this proxy alone, and neither Envoys
//! nor other proxies answer pages that are not theirs. So their events pass through here, each marked with its
//! source. Only those that the configuration names are asked: what a page asks for is a name, never an address.

use super::envoy;
use crate::config::{Metal, Watched};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// After how long one that does not answer is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// How long one may say nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often an Envoy is asked.
const TURN: Duration = Duration::from_secs(1);

/// The longest event of another proxy, and the longest page of an Envoy.
const LONGEST: u64 = 16 << 20;

/// Passes on what `watched` says, until nobody listens.
pub(super) async fn pass_on(watched: Watched, to: mpsc::Sender<Bytes>) {
    loop {
        let why = match watched.metal {
            Metal::Proxy => events(&watched, &to).await,
            Metal::Envoy => stats(&watched, &to).await,
        };
        let down = json!({"source": &*watched.name, "down": why});
        if to.send(message("change", &down.to_string())).await.is_err() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// An event of the stream.
fn message(event: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {event}\ndata: {data}\n\n"))
}

/// Reads another proxy's events; of those whom that one watches, nothing: two that watch each other would never
/// end. Why they ended.
async fn events(watched: &Watched, to: &mpsc::Sender<Bytes>) -> String {
    // HTTP/1.0 has no chunks.
    let mut lines = match ask(watched, "/events?watch=", "1.0").await {
        Ok((lines, _)) => lines,
        Err(why) => return why,
    };
    let mut event = String::new();
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut lines).take(LONGEST);
        let read = tokio::time::timeout(PATIENCE, limited.read_until(b'\n', &mut line));
        match read.await {
            Ok(Ok(size)) if size > 0 => {}
            Ok(Ok(_)) => return "it ended".into(),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "it is silent".into(),
        }
        let Ok(text) = std::str::from_utf8(&line) else {
            return "it says what is no text".into();
        };
        let text = text.trim_end();
        if let Some(name) = text.strip_prefix("event: ") {
            event = name.to_owned();
        } else if let Some(data) = text.strip_prefix("data: ") {
            let known = ["snapshot", "change"].contains(&&*event);
            let Some(marked) = marked(data, &watched.name).filter(|_| known) else {
                continue;
            };
            if to.send(message(&event, &marked)).await.is_err() {
                return "nobody listens".into();
            }
        }
    }
}

/// The object of an event with its source; none where it is no object. What it says of a source itself does not
/// count: it could speak for another.
fn marked(data: &str, name: &str) -> Option<String> {
    let mut fields: Map<String, Value> = serde_json::from_str(data).ok()?;
    fields.insert("source".into(), name.into());
    Some(Value::Object(fields).to_string())
}

/// Asks an Envoy for its counts, again and again. Why that ended.
async fn stats(watched: &Watched, to: &mpsc::Sender<Bytes>) -> String {
    let mut is_first = true;
    let mut rates = envoy::Rates::default();
    loop {
        // Envoy refuses HTTP/1.0.
        let page = match ask(watched, "/stats/prometheus?filter=bimetal", "1.1").await {
            Ok((lines, head)) => read(lines, &head).await,
            Err(why) => Err(why),
        };
        let page = match page {
            Ok(page) => page,
            Err(why) => return why,
        };
        let mut picture = envoy::picture(&page, &mut rates, Instant::now());
        picture["source"] = Value::from(&*watched.name);
        let event = if std::mem::take(&mut is_first) { "snapshot" } else { "change" };
        if to.send(message(event, &picture.to_string())).await.is_err() {
            return "nobody listens".into();
        }
        tokio::time::sleep(TURN).await;
    }
}

async fn read(page: BufReader<TcpStream>, head: &str) -> Result<String, String> {
    let mut body = Vec::new();
    let mut limited = page.take(LONGEST);
    match tokio::time::timeout(PATIENCE, limited.read_to_end(&mut body)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("it is silent".into()),
    }
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { unchunked(&body).ok_or("its chunks are broken")? } else { body };
    String::from_utf8(body).map_err(|_| "it says what is no text".into())
}

/// The content of chunks (RFC 9112, 7.1).
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(body.get(..end)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(content);
        }
        let from = end + 2;
        let to = from.checked_add(size)?;
        content.extend_from_slice(body.get(from..to)?);
        body = body.get(to + 2..)?;
    }
}

/// Asks for a path by this version of HTTP; gives what follows the head of a good answer, and the head.
async fn ask(
    watched: &Watched,
    path: &str,
    version: &str,
) -> Result<(BufReader<TcpStream>, String), String> {
    let asked = async {
        let mut stream = TcpStream::connect(watched.address).await?;
        let host = watched.address;
        let request =
            format!("GET {path} HTTP/{version}\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if (&mut lines).take(16 << 10).read_line(&mut head).await? == 0 || head.len() > 64 << 10
            {
                return Err(std::io::Error::other("it does not answer"));
            }
        }
        Ok((lines, head))
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok((lines, head))) if head.split(' ').nth(1) == Some("200") => Ok((lines, head)),
        Ok(Ok((_, head))) => Err(format!("it answers {}", head.split(' ').nth(1).unwrap_or("?"))),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_and_broken_ones_are_not() {
        let whole = unchunked(b"4\r\nabcd\r\n1;x=y\r\ne\r\n0\r\n\r\n");
        assert_eq!(whole.as_deref(), Some(&b"abcde"[..]));
        for broken in ["", "4\r\nab", "zz\r\n", "ffffffffffffffff\r\na\r\n", "4\r\nabcd"] {
            assert_eq!(unchunked(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn nobody_speaks_for_another() {
        let told = marked(r#"{"source":"other","now_ms":5,"a":{"b":[1]}}"#, "pod-b").unwrap();
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told, json!({"source": "pod-b", "now_ms": 5, "a": {"b": [1]}}));
        for wrong in ["", "[]", "5", "{", "{\"a\":1}{"] {
            assert_eq!(marked(wrong, "pod-b"), None, "{wrong}");
        }
    }
}
