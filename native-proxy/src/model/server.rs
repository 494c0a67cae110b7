//! Start and end of the server.

use super::ModelArgs;
use super::answer::{Model, answer};
use super::classifier::Classifier;
use super::iris;
use super::metrics::Answers;
use super::slots::Slots;
use crate::log::{self, Format, Level};
use crate::service::{self, ServiceError};
use hyper::service::service_fn;
use std::fmt;
use std::process::ExitCode;
use std::rc::Rc;

/// Why the server did not run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModelError {
    /// The classifier could not be trained.
    Training(String),
    /// The server itself.
    Service(ServiceError),
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Training(why) => write!(f, "the classifier cannot be trained: {why}"),
            Self::Service(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for ModelError {}

impl ModelError {
    /// 1: nothing of it is wrong input.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::FAILURE
    }
}

/// Runs the server until SIGTERM or SIGINT.
///
/// # Errors
/// See [`ModelError`].
pub fn run(args: &ModelArgs) -> Result<(), ModelError> {
    log::start(Level::Info, Format::Text);
    let model = Rc::new(trained(args)?);
    let answers = service_fn(move |request| answer(request, Rc::clone(&model)));
    service::run(service::serve(args.listen, &args.announced, answers))
        .map(drop)
        .map_err(ModelError::Service)
}

fn trained(args: &ModelArgs) -> Result<Model, ModelError> {
    let flowers = iris::flowers().map_err(|why| ModelError::Training(why.to_string()))?;
    let classifier = Classifier::learn(&flowers.learnt).map_err(ModelError::Training)?;
    let held_out = classifier.judge(&flowers.held_out);
    tracing::info!(
        right = held_out.right,
        of = held_out.of,
        "learnt from {} flowers; of {} others {} are named rightly ({:.1} %)",
        flowers.learnt.len(),
        held_out.of,
        held_out.right,
        held_out.share() * 100.0,
    );
    let slots = Rc::new(Slots::new(args.slots, args.queue, args.work));
    Ok(Model { classifier, held_out, slots, answers: Answers::default() })
}
