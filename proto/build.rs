//! Generates the wire types from our own protos, without protoc.

use std::path::Path;

use prost::Message as _;

const PROTOS: [&str; 5] = [
    "countersign/v1/mesh.proto",
    "countersign/admin/v1/admin.proto",
    "countersign/log/v1/entry.proto",
    "envoy_lean/sds.proto",
    "workload/workload.proto",
];

/// Messages that can hold a secret: `src/redacted.rs` writes their `Debug`.
const REDACTED: [&str; 7] = [
    ".envoy.service.discovery.v3.ErrorDetail",
    ".envoy.service.discovery.v3.Resource",
    ".envoy.service.discovery.v3.DiscoveryResponse",
    ".countersign.v1.JoinTokenEvidence",
    ".countersign.admin.v1.CreateTokenResponse",
    ".countersign.admin.v1.InviteReplicaResponse",
    ".X509SVID",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let descriptors = protox::compile(PROTOS, [root])?;
    let written = Path::new(&std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(written, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".envoy.service.discovery.v3")
        .skip_debug(REDACTED)
        .build_transport(false)
        .codec_path("crate::codec::Codec")
        .include_file("mod.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
