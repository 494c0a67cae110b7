//! Connections that switched to another protocol: bytes both ways until both sides are done.

use crate::upstream::Link;
use crate::worker::Place;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional};

/// Joins the two ends. `_place` keeps a drain waiting for it, until the drain's own end.
pub(super) async fn join(_place: Place, client: OnUpgrade, link: Box<Link>) {
    let (mut upstream, early, _slot) = link.into_tunnel();
    // Without the client's end there is nothing to join.
    let Ok(client) = client.await else { return };
    let mut client = TokioIo::new(client);
    if client.write_all(&early).await.is_err() {
        return;
    }
    // However it ends, both ends close.
    drop(copy_bidirectional(&mut client, &mut upstream).await);
}
