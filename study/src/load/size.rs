//! How much is asked how often.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// One load: a rate and the size of a call. Written `500` or `500x100KB`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Load {
    /// Calls a second.
    pub rate: u32,
    /// The message's length in bytes.
    pub bytes: usize,
}

/// The message of a load without a size.
const SMALL: usize = 64;

/// The largest message: the origin's largest is 1,000 KB.
const LARGEST: usize = 8_000_000;

impl FromStr for Load {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (rate, size) = match text.split_once('x') {
            Some((rate, size)) => (rate, Some(size)),
            None => (text, None),
        };
        let rate: u32 =
            rate.parse().with_context(|| format!("{text:?} is no load; 500 and 500x100KB are"))?;
        let bytes = match size {
            None => SMALL,
            Some(size) => {
                let number = size.strip_suffix("KB").with_context(|| {
                    format!("{text:?}: a size ends in KB (1,000 bytes), as in 500x100KB")
                })?;
                let number: usize =
                    number.parse().with_context(|| format!("{text:?} has no size"))?;
                number.saturating_mul(1_000)
            }
        };
        if rate == 0 || rate > 100_000 || bytes == 0 || bytes > LARGEST {
            bail!("{text:?}: a rate is 1 to 100000 calls a second, a size 1KB to 8000KB");
        }
        Ok(Self { rate, bytes })
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bytes {
            SMALL => write!(f, "{}", self.rate),
            bytes => write!(f, "{}x{}KB", self.rate, bytes / 1_000),
        }
    }
}

impl From<Load> for String {
    fn from(load: Load) -> Self {
        load.to_string()
    }
}

impl TryFrom<String> for Load {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// The body of a call: a message of that many bytes.
pub fn body(bytes: usize) -> String {
    format!("{{\"message\": \"{}\"}}", "X".repeat(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_read_as_they_are_written() {
        for text in ["500", "500x100KB", "1x1000KB"] {
            assert_eq!(text.parse::<Load>().unwrap().to_string(), text);
        }
        assert_eq!("20x5KB".parse::<Load>().unwrap(), Load { rate: 20, bytes: 5_000 });
        for wrong in [
            "",
            "x",
            "0",
            "500x",
            "500x5",
            "500x5MB",
            "-1",
            "500x0KB",
            "500x9000KB",
            "500x18446744073709552KB",
        ] {
            assert!(wrong.parse::<Load>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_body_is_a_message_of_its_length() {
        let body: serde_json::Value = serde_json::from_str(&body(1_000)).unwrap();
        assert_eq!(body["message"].as_str().unwrap().len(), 1_000);
    }
}
