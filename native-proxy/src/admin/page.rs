//! The dashboard's page: one document that loads nothing from elsewhere.
//!
//! Nothing of the proxy stands in it: all comes by `/events`, and becomes text. What may run and be loaded is
//! said by a policy of the browser (Content Security Policy Level 3), by a word that each answer makes up.

use super::{Answer, html};
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use std::hash::{BuildHasher, RandomState};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page.
pub(super) fn answer() -> Answer {
    // The standard library seeds its hash tables from the system.
    let word = || RandomState::new().hash_one(0);
    let nonce = format!("{:016x}{:016x}", word(), word());
    let page =
        PAGE.replace("@NONCE@", &nonce).replace("@STYLE@", STYLE).replace("@SCRIPT@", SCRIPT);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let mut answer = html(&page);
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}
