//! The nodes of a state that was restored from a backup: a fleet comes back by itself.

use countersign_model::Serial;
use countersign_telemetry::{Principal, peer_line};
use countersign_verify::VerifiedSvid;

use super::Authority;

impl Authority {
    /// Whether a node is recognised by this certificate from now on, whose key the control plane
    /// before the restore certified after the backup: the handshake has shown a certificate of ours
    /// that is in the lost part of the log, and the node has neither attested nor been evicted since,
    /// by the log and by the clock. So a fleet comes back by itself; such a certificate ends by itself.
    pub fn adopts(&self, svid: &VerifiedSvid) -> bool {
        let serial = Serial::from_bytes(&svid.serial).ok();
        let (Some((predecessor, restored_by)), Some(serial)) = (self.predecessor, serial) else {
            return false;
        };
        let certified_at = svid.not_before + self.settings.times.svid_backdate;
        let id = &svid.id;
        // Who could not be recognised anyway costs no look into the log.
        let lineage = self
            .state
            .read()
            .nodes
            .may_adopt(id, restored_by, certified_at);
        if lineage.is_none() {
            return false;
        }
        // A copy that was put back has gone on before it was restored, at the same coordinates.
        let is_beyond = serial.index() >= predecessor.size;
        let is_of_it = serial.log_id() == predecessor.log_id;
        if !is_of_it || !(is_beyond || self.is_missing(&serial)) {
            return false;
        }
        let key = (serial, svid.spki_sha256);
        let mut state = self.state.write();
        if !state.nodes.adopt(id, key, restored_by, certified_at) {
            return false;
        }
        drop(state);
        peer_line!(
            INFO,
            Principal::identity(id.as_str()),
            node = %id,
            %serial,
            "node recognised by a certificate from before the restore"
        );
        true
    }
}
