//! A rejection as the client sees it.

use crate::port::Reply;
use bimetal_core::Rejected;

/// The answer to a rejected request, as the core describes it; the details name policy and rule.
pub fn of(rejected: &Rejected<'_>) -> Reply {
    let bimetal_core::Reply { status, fields, body } = rejected.reply();
    let rule = rejected.rejection.rule().name();
    Reply {
        status,
        details: format!("bimetal_{}_{rule}", rejected.policy.name),
        headers: fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        body: body.into_owned(),
    }
}
