//! The way to a Redis or Valkey server that keeps the records of many processes. It knows nothing of what
//! they mean: a record is a name and bytes. One exchange is one pipeline of scripts, each of which the server
//! runs as a whole.

use bimetal_core::Instant;
use bimetal_core::board::far::{KEPT, Member};
use bimetal_core::hash::Hash;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError, Value};
use std::time::Duration;

/// How long an exchange may take, connecting included.
const WAIT: Duration = Duration::from_secs(1);
/// Records that one script writes: the server does nothing else meanwhile.
const WRITTEN: usize = 512;
/// Records that one exchange reads; the rest comes with the next one.
const READ: usize = 4_096;

const SCRIPT: &str = include_str!("exchange.lua");

/// Reads the address of a store.
///
/// # Errors
/// It is no such address. The text does not repeat it: it may hold a password.
pub(crate) fn address(text: &str) -> Result<Client, String> {
    Client::open(text)
        .map_err(|why| format!("{why}; allowed is an address such as redis://127.0.0.1:6379"))
}

/// A record on its way to the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    /// Whose it is.
    pub member: Member,
    /// Later ones of the same member and key have higher ones.
    pub sequence: u64,
    /// What it is of.
    pub key: &'a [u8],
    /// The record.
    pub record: &'a [u8],
}

/// What the store has that is new.
#[derive(Debug)]
pub(crate) struct Given {
    /// The store's time.
    pub now: Instant,
    /// The store's number: which it is.
    pub store: u64,
    /// The number of the last change that was looked at.
    pub change: u64,
    /// Whether there is more.
    pub has_more: bool,
    /// Whether it is another store than the last time, or the same without its memory: then what was known of
    /// it says nothing.
    pub is_another: bool,
    /// Records that it did not take because it has later ones of the same members.
    pub outdated: u64,
    /// Records that changed.
    pub records: Vec<GivenRecord>,
    /// What lies there in the place of records and is none.
    pub foreign: u64,
}

/// A record from the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GivenRecord {
    /// The number of the change.
    pub change: u64,
    /// When it came, on the store's clock.
    pub came: Instant,
    /// What it is of.
    pub key: Vec<u8>,
    /// The record.
    pub record: Vec<u8>,
}

/// The way to one server.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    connection: Option<MultiplexedConnection>,
    prefix: String,
    /// What the store is called where this process is the first to use it.
    own: String,
    /// The store of the last exchange, and the number of the last change that it gave.
    store: Vec<u8>,
    cursor: u64,
}

/// What one script gives: the fields of its last line.
type Answer = (Vec<u8>, u64, u64, u64, u64, Vec<Vec<u8>>);

impl Link {
    /// A way that is not connected yet, to the keys that begin with `prefix`. `own` is a name that no other
    /// process has.
    pub(crate) fn new(client: Client, prefix: &str, own: String) -> Self {
        let prefix = format!("{prefix}:mesh:");
        Self { client, connection: None, prefix, own, store: Vec::new(), cursor: 0 }
    }

    /// Makes one exchange. After a failure nothing is known of what the server did, and the next one begins
    /// with a new connection: of an old one an answer may still come.
    ///
    /// # Errors
    /// No connection, no answer in time, or another one than the script gives.
    pub(crate) async fn exchange(&mut self, records: &[Written<'_>]) -> Result<Given, String> {
        let Ok(result) = tokio::time::timeout(WAIT, self.ask(records)).await else {
            self.connection = None;
            return Err(format!("no answer within {} s", WAIT.as_secs()));
        };
        result.map_err(|why| {
            self.connection = None;
            told(&why)
        })
    }

    async fn ask(&mut self, records: &[Written<'_>]) -> Result<Given, RedisError> {
        let pipe = self.pipe(records);
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
        let answers: Vec<Value> = pipe.query_async(connection).await?;
        let mut all_outdated = 0;
        let mut last = None;
        for answer in answers {
            let answer = Answer::from_redis_value(answer)?;
            all_outdated += answer.4;
            last = Some(answer);
        }
        let (store, now, cursor, more, _, values) = last.unwrap_or_default();
        // A number that is lower: the store lost some of its memory.
        let is_another = store != self.store || cursor < self.cursor;
        (self.store, self.cursor) = (store, cursor);
        let mut records = Vec::with_capacity(values.len() / 3);
        let mut foreign = 0;
        for three in values.chunks(3) {
            match given(three) {
                Some(record) => records.push(record),
                None => foreign += 1,
            }
        }
        Ok(Given {
            now: instant(now),
            store: Hash::default().bytes(&self.store).finish(),
            change: self.cursor,
            has_more: more == 1,
            is_another,
            outdated: all_outdated,
            records,
            foreign,
        })
    }

    /// Scripts that write, the last of which also reads.
    fn pipe(&self, records: &[Written<'_>]) -> Pipeline {
        let mut pipe = redis::pipe();
        let none: &[Written<'_>] = &[];
        let (last, before) = match records.len() {
            0 => (none, none),
            length => {
                let (before, last) = records.split_at((length - 1) / WRITTEN * WRITTEN);
                (last, before)
            }
        };
        let before = before.chunks(WRITTEN).map(|chunk| (chunk, 0));
        for (chunk, most) in before.chain([(last, READ)]) {
            let call = pipe.cmd("EVAL").arg(SCRIPT).arg(2);
            call.arg(format!("{}changes", self.prefix)).arg(format!("{}store", self.prefix));
            call.arg(format!("{}of:", self.prefix)).arg(&self.own).arg(KEPT.as_millis());
            call.arg(&self.store).arg(self.cursor).arg(most);
            for written in chunk {
                call.arg(name(written)).arg(written.sequence).arg(written.record);
            }
        }
        pipe
    }
}

/// Digits of a replica's number, of a worker's, and a colon.
const MEMBER: usize = 21;

fn name(written: &Written<'_>) -> Vec<u8> {
    let Member { replica, worker } = written.member;
    [format!("{replica:016x}{worker:04x}:").as_bytes(), written.key].concat()
}

/// A record of the store: its name, the number of its change, its value. None where it is none of ours.
fn given(three: &[Vec<u8>]) -> Option<GivenRecord> {
    let [name, change, value] = three else { return None };
    let key = name.get(MEMBER..)?.to_vec();
    let mut parts = value.splitn(3, |byte| *byte == b':');
    let (_, came, record) = (parts.next()?, parts.next()?, parts.next()?);
    Some(GivenRecord {
        change: number(change)?,
        came: instant(number(came)?),
        key,
        record: record.to_vec(),
    })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn instant(micros: u64) -> Instant {
    Instant::from_nanos(micros.saturating_mul(1_000))
}

/// An error of the store in one short line.
fn told(why: &RedisError) -> String {
    const MOST: usize = 200;
    let text = why.to_string();
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_none() {
        let name = b"00000000000000070001:key:of";
        let given =
            |name: &[u8], value: &[u8]| given(&[name.to_vec(), b"7".to_vec(), value.to_vec()]);
        let wanted = GivenRecord {
            change: 7,
            came: Instant::from_nanos(12_000),
            key: b"key:of".to_vec(),
            record: b"a:b".to_vec(),
        };
        assert_eq!(given(name, b"5:12:a:b"), Some(wanted));
        for value in [&b""[..], b"5", b"5:12", b"5:x:a", b"5:-1:a", b"5:\xff:a"] {
            assert_eq!(given(name, value), None);
        }
        assert_eq!(given(b"short", b"5:12:a"), None);
    }

    #[test]
    fn many_records_are_written_by_several_scripts_and_read_by_one() {
        let client = address("redis://127.0.0.1:1").unwrap();
        let link = Link::new(client, "p", "own".to_owned());
        let member = Member::default();
        let record = Written { member, sequence: 1, key: b"k", record: b"r" };
        for (count, scripts) in [(0, 1), (1, 1), (512, 1), (513, 2), (1_024, 2), (1_025, 3)] {
            let pipe = link.pipe(&vec![record; count]);
            let packed = String::from_utf8(pipe.get_packed_pipeline()).unwrap();
            assert_eq!(packed.matches("EVAL").count(), scripts, "{count}");
            assert_eq!(packed.matches("$4\r\n4096\r\n").count(), 1, "{count}");
            assert!(packed.rfind("$4\r\n4096\r\n") > packed.rfind("EVAL"), "{count}");
        }
    }
}
