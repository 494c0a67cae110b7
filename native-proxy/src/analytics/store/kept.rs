//! One sample as the store keeps it.

use super::super::ingest::OWN;
use super::super::sample::Sample;

/// A sample in the store's window and under its time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// Its time: what the store orders by.
    pub(super) micros: u64,
    /// `name micros cpu rps`: the store orders members of one time by their bytes, that is by name. Rust
    /// reads its own numbers back to the last digit; JSON's readers may not.
    pub(super) member: String,
    /// What people find under the sample's time.
    pub(super) json: String,
}

impl Kept {
    /// This sample.
    pub(super) fn of(sample: &Sample) -> Self {
        let Sample { micros, cpu, rps, id, .. } = sample;
        Self {
            micros: *micros,
            member: format!("{id} {micros} {cpu} {rps}"),
            // Numbers and a text make JSON, always.
            json: serde_json::to_string(&sample.told()).unwrap_or_default(),
        }
    }
}

/// The sample of a member; `None` for what is none.
pub(super) fn read(member: &str) -> Option<Sample> {
    let mut parts = member.split(' ');
    let (id, micros) = (parts.next()?, parts.next()?.parse().ok()?);
    let (cpu, rps): (f64, f64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let is_sample = !id.is_empty()
        && parts.next().is_none()
        && (0.0..=100.0).contains(&cpu)
        && (0.0..=f64::MAX).contains(&rps);
    let is_named = !id.starts_with(OWN);
    is_sample.then(|| Sample { micros, cpu, rps, id: id.into(), is_named })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sample_comes_back_to_the_last_digit(
            micros in 0_u64..1 << 53, cpu in 0.0_f64..=100.0, rps in 0.0_f64..f64::MAX,
            id in "[!-~]{1,64}",
        ) {
            let is_named = !id.starts_with(OWN);
            let sample = Sample { micros, cpu, rps, id: id.into(), is_named };
            prop_assert_eq!(read(&Kept::of(&sample).member), Some(sample));
        }

        #[test]
        fn garbage_is_no_sample(text: String) {
            prop_assert!(read(&text).is_none_or(|sample| sample.rps >= 0.0));
        }
    }

    #[test]
    fn what_is_no_sample_is_left_out() {
        for text in [
            "",
            "a",
            "a 1 1",
            "a 1 101 1",
            "a 1 1 -1",
            "a 1 1 NaN",
            "a 1 1 inf",
            " 1 1 1",
            "a 1 1 1 1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
