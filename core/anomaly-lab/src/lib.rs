//! How good the core's anomaly detectors are.

pub mod fit;
pub mod gaussian;
pub mod judge;
pub mod judges;
pub mod made;
pub mod nab;
pub mod report;
pub mod series;
