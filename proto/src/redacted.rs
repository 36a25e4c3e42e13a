//! `Debug` for the wire messages that can hold a secret: a log line may print any message, and
//! none may print a key.

use std::fmt;

use crate::{admin, discovery, mesh, workload};

/// Shows the named fields and says that there is more.
macro_rules! redacted_debug {
    ($($message:ty { $($shown:ident),* })*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($shown), &self.$shown))*
                    .finish_non_exhaustive()
            }
        }
    )*};
}

redacted_debug! {
    discovery::ErrorDetail { code }
    discovery::Resource { name, version }
    discovery::DiscoveryResponse { type_url, version_info, nonce }
    mesh::JoinTokenEvidence {}
    admin::CreateTokenResponse { expires_at }
    admin::InviteReplicaResponse { until }
    workload::X509svid { spiffe_id, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let any = || prost_types::Any {
            type_url: String::new(),
            value: vec![222, 173, 190, 239],
        };
        let resource = discovery::Resource {
            resource: Some(any()),
            ..Default::default()
        };
        let nested = discovery::DeltaDiscoveryResponse {
            resources: vec![resource],
            ..Default::default()
        };
        let state = discovery::DiscoveryResponse {
            resources: vec![any()],
            ..Default::default()
        };
        let svid = workload::X509svid {
            x509_svid_key: vec![222, 173, 190, 239],
            ..Default::default()
        };
        let svids = workload::X509svidResponse {
            svids: vec![svid],
            ..Default::default()
        };
        let shown = format!("{nested:?} {state:?} {svids:?}");
        assert!(!shown.contains("173") && !shown.contains("xad"), "{shown}");
        let token = mesh::JoinTokenEvidence {
            token: "secret".into(),
        };
        let created = admin::CreateTokenResponse {
            token: "secret".into(),
            ..Default::default()
        };
        let invited = admin::InviteReplicaResponse {
            invitation: "secret".into(),
            ..Default::default()
        };
        assert!(!format!("{token:?} {created:?} {invited:?}").contains("secret"));
    }
}
