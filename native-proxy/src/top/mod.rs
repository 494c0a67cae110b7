//! `bimetal top`: what the dashboard shows, in a terminal.

mod feed;
mod picture;
mod plain;
mod screen;
mod view;

use clap::Args;
use feed::Feed;
use picture::Picture;
use std::fmt;
use std::io::IsTerminal;

const EXAMPLES: &str = "\
Examples:
  bimetal top
  bimetal top --admin 127.0.0.1:9000 --policy shop
  bimetal top --once | grep open
  bimetal top --once --json

Keys: Tab or 1 to 6 choose what is shown, j and k or the arrows scroll, p chooses a policy, q ends.
Colours are off where NO_COLOR is set (no-color.org).";

/// Arguments of the command.
#[derive(Debug, Args)]
#[command(about = "Watch a proxy in a terminal", after_help = EXAMPLES)]
pub struct TopArgs {
    /// Admin address of the proxy
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    admin: String,
    /// Show this policy alone
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Print what is seen now, and end
    #[arg(long)]
    once: bool,
    /// With --once: print one JSON object
    #[arg(long, requires = "once")]
    json: bool,
}

/// Why it ended.
#[derive(Debug)]
pub struct TopError(String);

impl fmt::Display for TopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TopError {}

/// Runs until it is told to end, or prints once: then what is to be printed.
///
/// # Errors
/// The proxy does not answer, or there is no terminal.
pub fn run(args: &TopArgs) -> Result<Option<String>, TopError> {
    let policy = args.policy.as_deref();
    if args.once {
        let picture = seen_once(&args.admin)?;
        return Ok(Some(match args.json {
            true => picture.json(policy).to_string(),
            false => plain::text(&picture, policy),
        }));
    }
    if !std::io::stdout().is_terminal() {
        return Err(TopError(
            "standard output is no terminal; --once prints what is seen now".into(),
        ));
    }
    let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|word| word.is_empty());
    screen::run(&args.admin, policy, is_coloured)?;
    Ok(None)
}

/// What is seen now, with rates: those need two looks.
fn seen_once(admin: &str) -> Result<Picture, TopError> {
    let mut feed = Feed::open(admin)?;
    let mut picture = Picture::default();
    while !picture.is_whole() || !picture.has_rates() {
        let (event, data) = feed.next()?;
        picture.take(&event, &data);
    }
    Ok(picture)
}
