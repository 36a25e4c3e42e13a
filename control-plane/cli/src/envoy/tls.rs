//! Both ends of mTLS, and where their secrets come from.

use countersign_model::{SpiffeId, TrustDomain};

use super::bootstrap::{Bootstrap, Peers};
use super::tree::{Tree, list, map, typed};

/// The cluster that is the sidecar of this node.
pub(super) const SIDECAR: &str = "sidecar";
/// Key exchange, in the order in which it is wanted.
const GROUPS: [&str; 3] = ["X25519MLKEM768", "X25519", "P-256"];
/// Which of our own sockets this is, to Envoy.
const TRANSPORT: &str = "envoy.transport_sockets.tls";

/// mTLS towards whoever connects.
pub(super) fn downstream(bootstrap: &Bootstrap<'_>) -> Tree {
    let context = typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        [
            ("require_client_certificate", true.into()),
            (
                "disable_stateless_session_resumption",
                Tree::from(true).because(
                    "A resumed session is not verified again: it would outlive the client's \
                     certificate.",
                ),
            ),
            ("disable_stateful_session_resumption", true.into()),
            ("common_tls_context", common(bootstrap)),
        ],
    );
    transport(context)
}

/// mTLS towards the service's proxy.
pub(super) fn upstream(bootstrap: &Bootstrap<'_>, server_name: Option<&str>) -> Tree {
    let context = typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        [
            (
                "max_session_keys",
                Tree::from(0_u32).because("No resumption: each connection proves itself anew."),
            ),
            ("common_tls_context", common(bootstrap)),
        ],
    );
    transport(context.with("sni", server_name.map(Tree::from)))
}

fn transport(context: Tree) -> Tree {
    map([("name", TRANSPORT.into()), ("typed_config", context)])
}

fn common(bootstrap: &Bootstrap<'_>) -> Tree {
    let versions = map([
        ("tls_minimum_protocol_version", "TLSv1_3".into()),
        ("tls_maximum_protocol_version", "TLSv1_3".into()),
        (
            "ecdh_curves",
            list(GROUPS.map(Tree::from)).because("The hybrid with ML-KEM first."),
        ),
    ]);
    let id = bootstrap.id;
    map([
        (
            "tls_params",
            versions.because("Without these lines an upstream context ends at TLS 1.2."),
        ),
        (
            "tls_certificate_sds_secret_configs",
            list([secret(id.as_str())]),
        ),
        (
            "combined_validation_context",
            map([
                (
                    "default_validation_context",
                    map([(
                        "match_typed_subject_alt_names",
                        matchers(&bootstrap.peers, &id.trust_domain()),
                    )]),
                ),
                (
                    "validation_context_sds_secret_config",
                    secret(id.trust_domain().id().as_str()).because(
                        "The roots of our own trust domain alone: no other's can sign for it.",
                    ),
                ),
            ]),
        ),
    ])
}

/// Never an empty list: without a matcher Envoy takes every identity, and without roots even a peer
/// that has no certificate.
fn matchers(peers: &Peers<'_>, trust_domain: &TrustDomain) -> Tree {
    let matcher = |kind: &'static str, value: String| {
        map([
            ("san_type", "URI".into()),
            ("matcher", map([(kind, value.into())])),
        ])
    };
    let exact = |id: &SpiffeId| matcher("exact", id.to_string());
    match peers {
        Peers::Inbound { allow: [] } => {
            list([matcher("prefix", format!("{}/", trust_domain.id()))]).because(
                "Every identity of the trust domain may connect, nodes too: name those that may with --allow.",
            )
        }
        Peers::Inbound { allow } => list(allow.iter().map(exact))
            .because("Who may connect. Without this list everybody may, so never empty it."),
        Peers::Outbound { expect } => list(expect.iter().map(exact))
            .because("Who the other end must be. Without this list any workload could pose as it."),
    }
}

/// A secret that the sidecar pushes whenever there is a newer one.
fn secret(name: &str) -> Tree {
    let retry = map([
        ("base_interval", "0.2s".into()),
        ("max_interval", "2s".into()),
    ]);
    let service = map([
        ("cluster_name", SIDECAR.into()),
        (
            "retry_policy",
            map([("retry_back_off", retry)]).because(
                "Envoy's own back-off goes up to 30 s: so late would a new certificate be.",
            ),
        ),
    ]);
    let source = map([
        ("api_type", "DELTA_GRPC".into()),
        ("transport_api_version", "V3".into()),
        (
            "set_node_on_first_message_only",
            Tree::from(true).because("The node message has about 61 kB: not in every request."),
        ),
        ("grpc_services", list([map([("envoy_grpc", service)])])),
    ]);
    map([
        ("name", name.to_owned().into()),
        (
            "sds_config",
            map([
                ("resource_api_version", "V3".into()),
                (
                    "initial_fetch_timeout",
                    Tree::from("0s").because(
                        "Until the first secret is there the port stays closed and /ready says so.",
                    ),
                ),
                ("api_config_source", source),
            ]),
        ),
    ])
}
