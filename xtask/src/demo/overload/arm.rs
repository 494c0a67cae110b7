//! The ways to the model, and what protects each.

/// A way to the three replicas of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Envoy without a limit.
    Unprotected,
    /// Envoy with what the origin study's DestinationRule becomes.
    IstioStudy,
    /// Envoy with what a DestinationRule with a pool of a hundred connections becomes.
    IstioPool,
    /// Envoy with the filter.
    Envoy,
    /// The native proxy.
    Native,
}

impl Arm {
    /// Every arm.
    pub const ALL: [Self; 5] =
        [Self::Unprotected, Self::IstioStudy, Self::IstioPool, Self::Envoy, Self::Native];

    /// Those with a policy of ours.
    pub const OURS: [Self; 2] = [Self::Envoy, Self::Native];

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unprotected => "unprotected",
            Self::IstioStudy => "Istio, study's pool",
            Self::IstioPool => "Istio, pool of 100",
            Self::Envoy => "Bimetal in Envoy",
            Self::Native => "Bimetal natively",
        }
    }

    /// What protects the model there, for people.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Unprotected => "Envoy, every limit out of reach",
            Self::IstioStudy => {
                "Envoy with istio/destination-rule.yaml: 1 connection, 1 request each, no bound on \
                 what waits"
            }
            Self::IstioPool => {
                "Envoy with istio/destination-rule-sane-pool.yaml: 100 connections, 100 waiting"
            }
            Self::Envoy => "Envoy with the filter and the policy",
            Self::Native => "the native proxy with the same policy",
        }
    }

    /// Its place in [`Self::ALL`].
    pub const fn place(self) -> usize {
        self as usize
    }
}
