//! What a history came to: a simulation that never gets anywhere proves nothing.

/// How often what was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) admitted: u64,
    pub(crate) waited: u64,
    pub(crate) served: u64,
    pub(crate) left: u64,
    pub(crate) by_connections: u64,
    pub(crate) by_deadline: u64,
    pub(crate) by_rate_limit: u64,
    pub(crate) by_breaker: u64,
    pub(crate) by_concurrency: u64,
    pub(crate) retried: u64,
    pub(crate) no_budget: u64,
    pub(crate) refused_between_tries: u64,
    pub(crate) rang: u64,
}

impl Seen {
    pub(crate) fn counts(&self) -> [(&'static str, u64); 13] {
        [
            ("admitted", self.admitted),
            ("waited", self.waited),
            ("served", self.served),
            ("left", self.left),
            ("by connections", self.by_connections),
            ("by deadline", self.by_deadline),
            ("by rate limit", self.by_rate_limit),
            ("by breaker", self.by_breaker),
            ("by concurrency", self.by_concurrency),
            ("retried", self.retried),
            ("no budget", self.no_budget),
            ("refused between tries", self.refused_between_tries),
            ("rang", self.rang),
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.admitted += other.admitted;
        self.waited += other.waited;
        self.served += other.served;
        self.left += other.left;
        self.by_connections += other.by_connections;
        self.by_deadline += other.by_deadline;
        self.by_rate_limit += other.by_rate_limit;
        self.by_breaker += other.by_breaker;
        self.by_concurrency += other.by_concurrency;
        self.retried += other.retried;
        self.no_budget += other.no_budget;
        self.refused_between_tries += other.refused_between_tries;
        self.rang += other.rang;
    }
}
