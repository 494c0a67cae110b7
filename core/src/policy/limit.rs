//! `rate_limits`, compiled.

use super::types::{Scope, Share};
use crate::concurrency::queue::QueuePolicy;
use crate::limiter::RateLimitPolicy;
use crate::limiter::escrow::WhenStoreFails;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

/// One rate limit of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitPolicy {
    /// What each key may, but for those of `overrides`.
    pub limit: RateLimitPolicy,
    /// What has a limit of its own: each combination of the values of these.
    pub key: Vec<Scope>,
    /// What certain keys may instead; the first that fits.
    pub overrides: Vec<LimitOverride>,
    /// Clients that are not limited.
    pub allow: Vec<Network>,
    /// The share of what it would reject that it does reject, 0–1.
    pub enforced: f64,
    /// The status of its rejections.
    pub status: u16,
    /// Calls that may wait for tokens.
    pub queue: Option<QueuePolicy>,
    /// In which workers together.
    pub share: Share,
    /// With `share: mesh`: what holds while the store is silent.
    pub when_store_fails: WhenStoreFails,
    /// Most keys at once, 1–1,000,000.
    pub max_keys: u32,
    /// Hash of what its state depends on: limits of one policy that have it in common share their state.
    pub hash: u64,
}

/// A value of a key's part in an override; none fits every value.
#[cfg(feature = "policy")]
pub(crate) struct Pattern(pub(crate) Option<Box<[u8]>>);

/// What keys with certain values may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitOverride {
    /// A value for each part of the key; none fits every value.
    pub values: Vec<Option<Box<[u8]>>>,
    /// What such a key may.
    pub limit: RateLimitPolicy,
}

impl LimitOverride {
    /// Whether it is for a key of these values.
    pub fn fits<'a>(&self, values: impl Iterator<Item = &'a [u8]>) -> bool {
        self.values.iter().zip(values).all(|(wanted, value)| match wanted {
            Some(wanted) => **wanted == *value,
            None => true,
        })
    }
}

impl LimitPolicy {
    /// Everything that a key may be limited to: its own limit, then the overrides' in their order.
    pub fn limits(&self) -> Vec<RateLimitPolicy> {
        [self.limit].into_iter().chain(self.overrides.iter().map(|one| one.limit)).collect()
    }

    /// Whether a client at this address is not limited.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(client))
    }
}

/// A network of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Of IPv4: its address, and which bits of one count.
    V4(u32, u32),
    /// Of IPv6.
    V6(u128, u128),
}

impl Network {
    /// Reads one; none where it is wrong, or has bits behind its prefix.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        // `parse` alone would take "+8".
        let is_number = |length: &str| length.bytes().all(|byte| byte.is_ascii_digit());
        let length = match length {
            Some(length) if is_number(length) => Some(length.parse::<u32>().ok()?),
            Some(_) => return None,
            None => None,
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => Self::v4(address.to_bits(), length.unwrap_or(32)),
            IpAddr::V6(address) => {
                let (bits, length) = (address.to_bits(), length.unwrap_or(128));
                match (address.to_ipv4_mapped(), length.checked_sub(96)) {
                    (Some(address), Some(length)) => Self::v4(address.to_bits(), length),
                    _ => {
                        let mask = u128::MAX.checked_shl(128_u32.checked_sub(length)?).unwrap_or(0);
                        (bits & mask == bits).then_some(Self::V6(bits, mask))
                    }
                }
            }
        }
    }

    fn v4(bits: u32, length: u32) -> Option<Self> {
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(length)?).unwrap_or(0);
        (bits & mask == bits).then_some(Self::V4(bits, mask))
    }

    /// Whether an address is in it. An IPv4 address counts as such however it is written: a socket of
    /// both families shows it as `::ffff:10.0.0.1` (RFC 4291, 2.5.5.2).
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::V4(network, mask), IpAddr::V4(address)) => address.to_bits() & mask == *network,
            (Self::V6(network, mask), IpAddr::V6(address)) => address.to_bits() & mask == *network,
            _ => false,
        }
    }
}
