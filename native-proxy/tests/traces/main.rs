//! Traces, judged from outside: lines of a process's standard output, and what collectors get.

#[path = "../proxy_support/mod.rs"]
mod proxy_support;

mod collector;
mod collectors;
mod echo;
mod lines;
mod pipes;
mod sampling;
mod semconv;
mod study;
mod traced;
