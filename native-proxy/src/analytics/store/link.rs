//! The way to a Redis or Valkey server. One exchange is one script, which the server runs as a whole.

use super::super::window::WINDOW;
use super::shared::{Exchange, Reply};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};
use std::time::Duration;

/// How long an exchange may take, connecting included.
const WAIT: Duration = Duration::from_secs(1);

const SCRIPT: &str = include_str!("exchange.lua");

/// Reads the address of a store.
///
/// # Errors
/// It is no such address. The text does not repeat it: it may hold a password.
pub(in super::super) fn address(text: &str) -> Result<Client, String> {
    Client::open(text)
        .map_err(|why| format!("{why}; allowed is an address such as redis://127.0.0.1:6379"))
}

/// The way to one server.
#[derive(Debug)]
pub(in super::super) struct Link {
    client: Client,
    connection: Option<MultiplexedConnection>,
    script: Script,
    prefix: String,
    ttl: Duration,
}

/// What the script gives.
type Given = (u64, u64, u64, Vec<String>, Vec<(Bytes, Bytes)>, Vec<Bytes>);

/// What others wrote may be no text.
type Bytes = Vec<u8>;

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Link {
    /// A way that is not connected yet.
    pub(in super::super) fn new(client: Client, prefix: String, ttl: Duration) -> Self {
        Self { client, connection: None, script: Script::new(SCRIPT), prefix, ttl }
    }

    /// Makes one exchange. After a failure nothing is known of what the server did, and the next one
    /// begins with a new connection: of an old one an answer may still come.
    ///
    /// # Errors
    /// No connection, no answer in time, or another one than the script gives.
    pub(in super::super) async fn exchange(
        &mut self,
        exchange: &Exchange,
    ) -> Result<Reply, String> {
        let Ok(result) = tokio::time::timeout(WAIT, self.ask(exchange)).await else {
            self.connection = None;
            return Err(format!("no answer within {} s", WAIT.as_secs()));
        };
        result.map_err(|why| {
            self.connection = None;
            told(&why)
        })
    }

    async fn ask(&mut self, exchange: &Exchange) -> redis::RedisResult<Reply> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                // One limit is over all of it.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(None)
                    .set_response_timeout(None);
                let new = self.client.get_multiplexed_async_connection_with_config(&config).await?;
                none.insert(new)
            }
        };
        let Self { script, prefix, ttl, .. } = self;
        let mut call = script.prepare_invoke();
        call.key(format!("{prefix}:counters")).key(format!("{prefix}:window"));
        call.arg(&*prefix).arg(&exchange.replica).arg(exchange.sequence);
        call.arg(ttl.as_secs().max(1)).arg(WINDOW);
        call.arg(exchange.raised.len());
        for (field, value) in &exchange.raised {
            call.arg(field).arg(*value);
        }
        call.arg(exchange.restored.len());
        for kept in &exchange.restored {
            call.arg(kept.micros).arg(&kept.member).arg(&kept.json);
        }
        call.arg(exchange.counted.0).arg(exchange.counted.1).arg(exchange.entries.len());
        for entry in &exchange.entries {
            call.arg(entry.kept.micros).arg(&entry.name).arg(u8::from(entry.is_anomaly));
            call.arg(&entry.kept.member).arg(&entry.kept.json);
        }
        let (is_new, samples, anomalies, known, counters, window): Given =
            call.invoke_async(connection).await?;
        let counters = counters.iter().map(|(field, value)| (text(field), text(value))).collect();
        let window = window.iter().map(text).collect();
        Ok(Reply { is_new: is_new == 1, added: (samples, anomalies), known, counters, window })
    }
}

/// An error of the store in one short line.
fn told(why: &redis::RedisError) -> String {
    const MOST: usize = 200;
    let text = why.to_string();
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MOST).collect()
}
