//! Starting an arm, and asking it what it counted.

use super::file::{Arm, Policy};
use super::fill::Filling;
use crate::process::{self, Cores, Running, Used};
use crate::record::Flaw;
use crate::tools;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a program may take to be ready.
const WAIT: Duration = Duration::from_secs(60);

/// How often something that will come is looked for.
const GLANCE: Duration = Duration::from_millis(10);

/// Where arms are started.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder for their files.
    pub folder: PathBuf,
    /// Their cores.
    pub cores: Cores,
    /// The policy document of every arm with a policy.
    pub policy: Policy,
}

/// An arm at work. Its processes end when it is dropped.
#[derive(Debug)]
pub struct Started {
    /// Where calls go.
    pub address: SocketAddr,
    processes: Vec<Running>,
    metrics: Option<String>,
    apart: Vec<String>,
    /// A server of its own, where the one of the others does not do.
    server: Option<Box<Started>>,
}

/// Starts the server behind all arms: `bimetal echo`, with one worker, on the load's core.
///
/// # Errors
/// It is not there, or does not come up.
pub fn start_echo(place: &Place) -> Result<Started> {
    echo(place, "echo", &[])
}

/// A server with a folder of that name and these arguments beside the usual ones.
fn echo(place: &Place, name: &str, more: &[&str]) -> Result<Started> {
    let port = crate::ports::hold()?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let folder = room(&place.folder, name)?;
    let mut command = process::command(tools::find("bimetal")?);
    // What it remembers of calls would grow with every block.
    command.args(["echo", "--workers", "1", "--remember", "1", "--listen", &address.to_string()]);
    command.args(more);
    let log = folder.join("log");
    let running = process::on(place.cores.load, || Running::start(&mut command, &log))?;
    let mut started = Started { address, processes: vec![running], ..Started::nothing(address) };
    started.wait().context("the echo server does not serve")?;
    Ok(started)
}

/// Starts an arm before `upstream` and waits until it answers as the server does. One that is traced
/// has a server of its own, which is traced too.
///
/// # Errors
/// A tool is missing, a process does not start or ends, or it answers something else.
pub fn start(arm: &Arm, place: &Place, upstream: SocketAddr) -> Result<Started> {
    let folder = room(&place.folder, &arm.name)?;
    let mut started = Started { apart: arm.apart.clone(), ..Started::nothing(upstream) };
    if arm.traced {
        let server = echo(place, "echo-traced", &["--traces", "otlp_stdout"])?;
        started.address = server.address;
        started.server = Some(Box::new(server));
    }
    let mut chain: Vec<&Arm> =
        std::iter::successors(Some(arm), |arm| arm.next.as_deref()).collect();
    // What is nearest to the server first: each is told where the one behind it is.
    chain.reverse();
    for one in chain {
        start_one(one, place, &folder, &mut started)
            .with_context(|| format!("{} does not serve", one.name))?;
    }
    Ok(started)
}

/// Starts the processes of one arm before what is started already.
fn start_one(arm: &Arm, place: &Place, folder: &Path, started: &mut Started) -> Result<()> {
    let found = arm.needs.iter().map(|name| {
        let path = tools::find(name).with_context(|| format!("the arm {} needs it", arm.name))?;
        Ok((name.clone(), path.display().to_string()))
    });
    let tools: BTreeMap<String, String> = found.collect::<Result<_>>()?;
    let mut filling = Filling {
        values: &arm.values,
        tools: &tools,
        upstream: started.address,
        policy: &place.policy,
        ports: BTreeMap::new(),
    };
    for one in &arm.processes {
        let folder = room(folder, &started.processes.len().to_string())?;
        for (name, text) in &one.files {
            let file = folder.join(name);
            let text = filling.fill(text, &folder)?;
            std::fs::write(&file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let mut command = process::command(filling.fill(&one.program, &folder)?);
        command.current_dir(&folder);
        for argument in &one.arguments {
            command.arg(filling.fill(argument, &folder)?);
        }
        for (variable, text) in &one.environment {
            let text = filling.fill(text, &folder)?;
            if !text.is_empty() {
                command.env(variable, text);
            }
        }
        let log = folder.join("log");
        let running = process::on(place.cores.arms, || Running::start(&mut command, &log))?;
        started.processes.push(running);
    }
    if let Some(page) = &arm.metrics {
        started.metrics = Some(filling.fill(page, folder)?);
    }
    if !arm.processes.is_empty() {
        started.address = SocketAddr::from(([127, 0, 0, 1], filling.port("entry")?));
    }
    started.wait()
}

impl Started {
    /// Before any process.
    fn nothing(address: SocketAddr) -> Self {
        Self { address, processes: Vec::new(), metrics: None, apart: Vec::new(), server: None }
    }

    /// Ends it, and gives the files with its processes' output and its own server's.
    pub fn end(self) -> Vec<PathBuf> {
        let own = self.server.iter().flat_map(|server| &server.processes);
        self.processes.iter().chain(own).map(|process| process.log().to_path_buf()).collect()
    }

    /// CPU time of a server of its own, which is no part of the arm.
    pub fn server_time(&self) -> Duration {
        let used = self.server.as_ref().and_then(|server| server.time_used().ok().flatten());
        used.unwrap_or_default().whole()
    }

    /// Waits until it answers.
    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + WAIT;
        loop {
            self.lives()?;
            match ask(self.address) {
                Ok(answer) if answer.contains("Echo: ready?") => return Ok(()),
                Ok(answer) => bail!("it answers {answer:?}"),
                Err(error) if Instant::now() > deadline => {
                    let words = self.processes.iter().map(Running::last_words);
                    return Err(error.context(words.collect::<Vec<_>>().join("\n")));
                }
                Err(_) => std::thread::sleep(GLANCE),
            }
        }
    }

    /// Whether all its processes are there.
    ///
    /// # Errors
    /// One has ended; the message holds its last words.
    pub fn lives(&mut self) -> Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.status()? {
                bail!("a process ended ({status}): {}", process.last_words());
            }
        }
        Ok(())
    }

    /// CPU time that its processes used so far; none where there is none.
    ///
    /// # Errors
    /// One is gone.
    pub fn time_used(&self) -> Result<Option<Used>> {
        let times = self.processes.iter().map(|one| process::time_used(one.id(), &self.apart));
        let times: Vec<Used> = times.collect::<Result<_>>()?;
        Ok((!times.is_empty()).then(|| times.into_iter().sum()))
    }

    /// Its processes' resident memory in KiB; none where there is none.
    ///
    /// # Errors
    /// One is gone.
    pub fn resident_kib(&self) -> Result<Option<u64>> {
        let sizes = self.processes.iter().map(|one| process::resident_kib(one.id()));
        let sizes: Vec<u64> = sizes.collect::<Result<_>>()?;
        Ok((!sizes.is_empty()).then(|| sizes.iter().sum()))
    }

    /// Whether it tells how many calls were admitted and settled.
    pub fn counts_calls(&self) -> bool {
        self.metrics.is_some()
    }

    /// Holds that every call that a breaker admitted was settled, where the arm counts them.
    ///
    /// # Errors
    /// Its page of metrics does not answer.
    pub fn unsettled(&self) -> Result<Option<Flaw>> {
        let Some(page) = &self.metrics else {
            return Ok(None);
        };
        super::unsettled(|| Ok(agent().get(page).call()?.body_mut().read_to_string()?))
    }
}

fn ask(address: SocketAddr) -> Result<String> {
    let mut answer = agent()
        .post(format!("http://{address}/echo"))
        .content_type("application/json")
        .send(r#"{"message":"ready?"}"#)?;
    answer.body_mut().read_to_string().map_err(|error| anyhow!(error))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    config.timeout_global(Some(Duration::from_secs(5))).proxy(None).build().into()
}

/// A folder below `folder`, made anew: nothing of an earlier run is in it.
fn room(folder: &Path, name: &str) -> Result<PathBuf> {
    let room = folder.join(name);
    match std::fs::remove_dir_all(&room) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", room.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(&room).with_context(|| format!("cannot make {}", room.display()))?;
    Ok(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_a_program_that_ends_and_a_wrong_answer_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            folder: folder.path().to_path_buf(),
            cores: Cores::take().unwrap(),
            policy: Policy::default(),
        };
        let nobody = SocketAddr::from(([127, 0, 0, 1], crate::ports::hold().unwrap()));
        let start = |text: &str| {
            let arm: Arm = serde_saphyr::from_str(text).unwrap();
            let arm = Arm { name: "wrong".into(), ..arm };
            format!("{:#}", start(&arm, &place, nobody).unwrap_err())
        };
        let told = start("about: x\nneeds: [no-such-tool]\n");
        assert!(
            told.contains("wrong needs it") && told.contains("no-such-tool is not here"),
            "{told}"
        );
        let told = start(
            "about: x\nneeds: [sh]\nprocesses: [{program: '${sh}', arguments: ['-c', 'echo so it goes; exit 3']}]",
        );
        assert!(told.contains("wrong does not serve") && told.contains("so it goes"), "{told}");
    }
}
