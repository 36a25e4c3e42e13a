//! Every service and RPC, from the descriptors of the protos.

use countersign_reference::{Table, code, page, plain};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto};

const HEAD: &str = "# RPCs

Every gRPC service of the two daemons. The protos in `proto/proto` say what each field means.
";

/// By full name: who serves it where, and who may call it. One that is added has to be told here.
const SERVICES: &[(&str, &str)] = &[
    (
        "countersign.v1.NodeAttestation",
        "Served by the control plane at `api.listen`, over TLS 1.3. Whoever connects may call it: a node that \
         has no certificate yet proves itself by its evidence, such as a join token.",
    ),
    (
        "countersign.v1.Mesh",
        "Served by the control plane at `api.listen`, over TLS 1.3. Sidecars alone may call it, with the \
         certificate of their node; the SVID of a workload authenticates nothing.",
    ),
    (
        "countersign.admin.v1.Admin",
        "Served by the control plane at `admin.socket`. Root and the user of the control plane may call it: \
         the socket has mode 0600, and the kernel tells who asks.",
    ),
    (
        "envoy.service.secret.v3.SecretDiscoveryService",
        "Served by a sidecar at `workload_api.socket`: Envoy's SDS v3. Every local process may call it, and \
         gets what the registrations give its uid, gid or program.",
    ),
    (
        "SpiffeWorkloadAPI",
        "Served by a sidecar at `workload_api.socket`: the SPIFFE Workload API, X.509 profile. Every local \
         process may call it with the metadata `workload.spiffe.io: true`, and gets what the registrations \
         give its uid, gid or program.",
    ),
];

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(countersign_proto::DESCRIPTORS);
    set.expect("the build wrote it").file
}

#[test]
fn page_of_the_rpcs_follows_the_protos() {
    let files = files();
    let mut text = HEAD.to_owned();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.service.is_empty()) {
        for service in &file.service {
            let name = match file.package() {
                "" => service.name().to_owned(),
                package => format!("{package}.{}", service.name()),
            };
            let told = SERVICES.iter().find(|(known, _)| *known == name);
            let (_, who) = told.unwrap_or_else(|| panic!("say in {} who may call {name}", file!()));
            let mut table = Table::new(["RPC", "Request", "Answer"]);
            for method in &service.method {
                table.row(&row(method, &files));
            }
            text += &format!("\n## `{name}`\n\n{}\n\n{}", plain(who), table.finish());
            found.push(name);
        }
    }
    assert_eq!(found.len(), SERVICES.len(), "{found:?}");
    page("rpc.md", &text);
}

fn row(method: &MethodDescriptorProto, files: &[FileDescriptorProto]) -> [String; 3] {
    let message = |name: &str, is_stream: bool| {
        let fields = fields(name, files).join(", ");
        let (_, name) = name.rsplit_once('.').unwrap_or(("", name));
        let stream = if is_stream { "stream of " } else { "" };
        match fields.as_str() {
            "" => format!("{stream}{}", code(name)),
            fields => format!("{stream}{}: {fields}", code(name)),
        }
    };
    [
        code(method.name()),
        message(method.input_type(), method.client_streaming()),
        message(method.output_type(), method.server_streaming()),
    ]
}

/// The names of the fields of a message, by its full name with a dot in front.
fn fields(name: &str, files: &[FileDescriptorProto]) -> Vec<String> {
    let is_it = |package: &str, message: &str| match package {
        "" => name == format!(".{message}"),
        package => name == format!(".{package}.{message}"),
    };
    let of_file = |file: &FileDescriptorProto| {
        let mut messages = file.message_type.iter();
        messages
            .find(|message| is_it(file.package(), message.name()))
            .cloned()
    };
    let message = files.iter().find_map(of_file);
    let message = message.unwrap_or_else(|| panic!("no message {name}"));
    message
        .field
        .iter()
        .map(|field| field.name().to_owned())
        .collect()
}
