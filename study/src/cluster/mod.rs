//! Arms as releases of the chart in a cluster: started anew by scaling their Deployments from nothing
//! to one pod, called by a generator in a pod on the node `load`.

mod calls;
mod ground;
mod pods;
mod shipped;
mod site;
mod usage;

pub use ground::Cluster;
pub use shipped::Shipped;
pub use site::{InCluster, Site};
