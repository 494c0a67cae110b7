//! The board as a service (`bimetal board`): where members that cannot speak to a Redis server, as Envoy's
//! filters, exchange what they know by HTTP.
//!
//! `POST /v1/exchange/{prefix}` takes a [`Question`](bimetal_core::board::far::Question) and gives an
//! [`Answer`](bimetal_core::board::far::Answer), as bytes. All questions that come while an exchange with the
//! server is under way share the next one. Without a server the records are in memory: then there can be one
//! board only.

mod answer;
mod keeper;
mod page;
mod server;

pub use server::{BoardError, run};

use crate::service::{Announced, address};
use std::net::SocketAddr;

/// How the board runs.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Run the board: where Envoy's filters meet whose breakers have `share: mesh`",
    after_help = EXAMPLES
)]
pub struct BoardArgs {
    /// Address to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "BIMETAL_BOARD_LISTEN", default_value = "0.0.0.0:9400", value_parser = address)]
    pub listen: SocketAddr,
    /// Redis or Valkey server where the records are, as in redis://127.0.0.1:6379, so that boards and proxies
    /// meet there; without one they are in memory, and there can be one board only
    #[arg(long, value_name = "URL", env = "BIMETAL_BOARD_REDIS", hide_env_values = true)]
    pub redis: Option<String>,
    /// How the keys begin there: the `prefix` of those who meet
    #[arg(long, value_name = "TEXT", env = "BIMETAL_BOARD_PREFIX", default_value = "bimetal")]
    pub prefix: String,
    /// Whom it tells where it listens.
    #[command(flatten)]
    pub announced: Announced,
}

const EXAMPLES: &str = "\
Examples:
  bimetal board                                                        one board, in memory
  bimetal board --listen 0.0.0.0:9400 --redis redis://127.0.0.1:6379   one of several
  curl http://127.0.0.1:9400/metrics";
