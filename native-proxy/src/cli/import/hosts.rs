//! Names of services: what Istio means by a short one, and by which names callers ask for it.

/// How names are completed.
#[derive(Debug)]
pub(super) struct Hosts {
    /// The cluster's DNS domain.
    pub(super) domain: String,
}

impl Hosts {
    /// The full name of a host that a resource of this namespace names: a name without dots is a service of the
    /// namespace.
    pub(super) fn full(&self, host: &str, namespace: &str) -> String {
        if host.contains('.') || host == "*" {
            return host.to_owned();
        }
        format!("{host}.{namespace}.svc.{}", self.domain)
    }

    /// Every name by which callers may ask for it, the full one last. The bare name of a service is that of the
    /// caller's own namespace, so it stands for this one only where the resource is of the same namespace.
    pub(super) fn asked_for(&self, host: &str, namespace: &str) -> Vec<String> {
        let full = self.full(host, namespace);
        let inside = full.strip_suffix(&format!(".svc.{}", self.domain));
        let Some((name, of)) = inside.and_then(|inside| inside.split_once('.')) else {
            return vec![full];
        };
        if name.contains('*') || of.contains('.') {
            return vec![full];
        }
        let bare = (of == namespace).then(|| name.to_owned());
        let longer = [format!("{name}.{of}"), format!("{name}.{of}.svc")];
        bare.into_iter().chain(longer).chain([full.clone()]).collect()
    }
}

/// How many names a host may stand for: 0 one, more the shorter its pattern is.
pub(super) fn width(host: &str) -> usize {
    if host.starts_with('*') { 1_000_usize.saturating_sub(host.len()) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{Hosts, width};

    #[test]
    fn a_service_is_asked_for_by_four_names_and_a_stranger_by_one() {
        let hosts = Hosts { domain: "cluster.local".to_owned() };
        let names = |host: &str| hosts.asked_for(host, "shop");
        let four = ["cart", "cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local"];
        assert_eq!(names("cart"), four);
        assert_eq!(names("cart.shop.svc.cluster.local"), four);
        assert_eq!(
            names("cart.other.svc.cluster.local"),
            ["cart.other", "cart.other.svc", "cart.other.svc.cluster.local"]
        );
        for alone in [
            "api.example.com",
            "*.example.com",
            "*",
            "*.svc.cluster.local",
            "*.shop.svc.cluster.local",
        ] {
            assert_eq!(names(alone), [alone]);
        }
        assert_eq!(hosts.full("cart", "a"), "cart.a.svc.cluster.local");
    }

    #[test]
    fn a_shorter_pattern_is_wider() {
        assert!(width("a") < width("*.a.example") && width("*.a.example") < width("*.example"));
        assert!(width("*.example") < width("*"));
    }
}
