//! What codes mean whose makers do not say it in one place.

/// Code, what happened, what mends it.
pub(super) const TOLD: &[(&str, &str, &str)] = &[
    (
        "usage",
        "The command line is not understood.",
        "`--help` of the verb lists what is.",
    ),
    (
        "configuration",
        "The configuration file has mistakes, or there is none; each is in `mistakes` with its key.",
        "Mend what each mistake names; `config check` reads the file without starting anything.",
    ),
    (
        "man_unwritable",
        "A man page cannot be written.",
        "Name a folder that you can write in.",
    ),
    (
        "not_loopback",
        "A bootstrap for Envoy would carry plaintext, or open its admin port, beyond this machine.",
        "Use an address of 127.0.0.0/8 or [::1].",
    ),
    (
        "same_address",
        "Two options of a bootstrap for Envoy name one address and port.",
        "Let each have a port of its own.",
    ),
    (
        "bug",
        "Something that must not happen did.",
        "Report it with the message.",
    ),
    (
        "not_found",
        "What was named is not there: a node, a registration or a certificate.",
        "See `countersign list`, `node list` or `certs list`.",
    ),
    (
        "invalid_argument",
        "The control plane does not understand a value.",
        "See `--help` of the verb.",
    ),
    (
        "denied",
        "The control plane refused, and said no code.",
        "See its log.",
    ),
    (
        "unavailable",
        "It cannot be done now: a disk, a key store or a queue is in the way.",
        "Try again; the log of the control plane says more.",
    ),
    (
        "internal",
        "The control plane failed in a way that is not foreseen.",
        "Report it with its log.",
    ),
    (
        "connection_closed",
        "The connection broke in the middle of a call.",
        "Look whether the control plane ended, and what its log says last.",
    ),
    (
        "control_plane_unreachable",
        "Nobody answers on the admin socket.",
        "Start the control plane, or name its socket with `--admin-socket`.",
    ),
    (
        "admin_socket_denied",
        "This user may not use the admin socket.",
        "Run the command as root or as the user of the control plane.",
    ),
    (
        "admin_socket_is_none",
        "No socket can be where one was named: a plain file, a folder or a device is there, or the path is \
         too long.",
        "Name the socket: `admin.socket` of the control plane's configuration.",
    ),
    (
        "admin_socket_of_another",
        "Another user's process answers on the admin socket; nothing was sent.",
        "Name the socket of the control plane.",
    ),
    (
        "no_answer",
        "The control plane, or the sidecar, is there and does not answer.",
        "Look whether it was stopped or its machine has no time for it; restart it if it stays so.",
    ),
    (
        "no_report",
        "Who answers on the sidecar's socket sends no report that can be read, or broke off.",
        "Use the `countersign-sidecar` of the version that runs, or try again.",
    ),
    (
        "not_running",
        "No sidecar answers on the socket in its `state_dir`.",
        "Start it with `countersign-sidecar run`.",
    ),
    (
        "status_socket_denied",
        "This user may not ask the sidecar for its status.",
        "Run the command as root or as the user of the sidecar.",
    ),
    (
        "status_socket_is_none",
        "No socket can be where the sidecar's is: a plain file or a folder is there, or the path is too long.",
        "Look at `state_dir` in the configuration.",
    ),
    (
        "status_socket_of_another",
        "Another user's process answers on the sidecar's socket; nothing was sent.",
        "Look whose `state_dir` this is.",
    ),
    (
        "no_runtime",
        "The process could not start its threads.",
        "Check the limits of the process.",
    ),
    (
        "runtime",
        "The process could not start its threads.",
        "Check the limits of the process.",
    ),
    (
        "not_hardened",
        "The process could not protect its memory, or raise its limit of open files.",
        "Check the limits and permissions of the process.",
    ),
    (
        "harden",
        "The process could not protect its memory, or raise its limit of open files.",
        "Run it with the rights to do so.",
    ),
    (
        "no_signals",
        "The process could not listen for signals.",
        "Check the limits of the process.",
    ),
    (
        "telemetry",
        "Logs or traces could not be set up.",
        "Check `[log]` and `[telemetry]`.",
    ),
    (
        "bind",
        "A sidecar cannot listen at an address or socket.",
        "Free it, or change the key that the message names.",
    ),
    (
        "cannot_listen",
        "The control plane cannot listen at an address or socket.",
        "Free it, or change the key that the message names.",
    ),
    (
        "no_address",
        "A listener of the control plane has no address.",
        "Try again.",
    ),
    (
        "state_dir",
        "`state_dir` of a sidecar cannot be used.",
        "Make it writable for the user of the sidecar alone, and give each sidecar one of its own.",
    ),
    (
        "database_unavailable",
        "The database that `store.url` or `--url` names cannot be reached, or does not let the role in.",
        "Check the URL, the password, the certificate and that the database runs; see `countersign store check`.",
    ),
    (
        "database_schema",
        "The tables of the database are of another version, or the role may not make or use them.",
        "See `countersign store check` and `countersign store migrate`.",
    ),
    (
        "replica_fenced_out",
        "Another control plane seals the issuance log of this one, or was about to.",
        "Finish with `countersign replica seal` on one that runs; join with another `replica.name` and an empty `data_dir`.",
    ),
    (
        "replica_name_taken",
        "A control plane with this name and another `data_dir` uses the database.",
        "Set another `replica.name`, or start it with the `data_dir` that the name belongs to.",
    ),
    (
        "database_url",
        "The URL names no database, or one that could not be told from another.",
        "Write `postgresql://ROLE@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE`.",
    ),
    (
        "data_dir_unusable",
        "`data_dir` cannot be used.",
        "Check owner, permissions and free space, and that no other control plane uses it.",
    ),
    (
        "output_failed",
        "The result cannot be written.",
        "Free the disk or pipe that it goes to, or choose another `--out`.",
    ),
    (
        "backup_damaged",
        "A byte of the backup changed.",
        "Take another backup.",
    ),
    (
        "backup_unreadable",
        "The backup is missing, unreadable or cut off.",
        "Check `--in`, or take another backup.",
    ),
    (
        "backup_format",
        "Another version made the backup.",
        "Restore it with that version.",
    ),
    (
        "no_checkpoint",
        "The log that is audited has no checkpoint.",
        "Give the folder of a log with `--log`; a new log has one after its first entries.",
    ),
    (
        "log_unreadable",
        "The folder of the log cannot be read.",
        "Run it as the user of the control plane.",
    ),
    (
        "key_unusable",
        "The verifier key is missing or is none.",
        "Give the line of the log's `key.vkey`.",
    ),
    (
        "log_unsound",
        "The log contradicts itself or its checkpoint.",
        "Run `countersign audit verify` on it, and trust it no more.",
    ),
    (
        "not_in_the_log",
        "The certificate or entry is not in this log, or not any more.",
        "Name the log that issued it; wait for the next checkpoint.",
    ),
    (
        "proof_unreadable",
        "The proof cannot be read or is none.",
        "Give a `.tlog-proof` of `countersign audit prove`.",
    ),
    (
        "proof_refused",
        "The proof does not hold.",
        "Trust neither the proof nor who gave it.",
    ),
    (
        "token_unknown",
        "The join token was never made here, or long ago.",
        "Make a new one with `countersign token create`.",
    ),
    (
        "token_expired",
        "The join token has expired.",
        "Make a new one; `--ttl` is up to a day.",
    ),
    (
        "token_used",
        "Another key used the join token before.",
        "Find out whose it was, then make a new one.",
    ),
    (
        "token_revoked",
        "The node was evicted after the join token was made.",
        "Make a new one.",
    ),
    (
        "key_proof_invalid",
        "The caller did not prove that it holds the key.",
        "Sign the proof on the connection that carries it, with the key that it names.",
    ),
    (
        "not_recognised",
        "The certificate of the node recognises nobody here.",
        "Attest the node anew, with a new token.",
    ),
    (
        "not_entitled",
        "This node has no such entitlement.",
        "Register the identity for this node.",
    ),
    (
        "rate_limited",
        "The caller asks too much at once.",
        "Wait as long as the answer says; raise the limits in `[admission]` if they are too low for the fleet.",
    ),
    (
        "too_many_keys",
        "Too many keys have certificates that are valid.",
        "Wait until certificates have ended; see `countersign_certified_keys`.",
    ),
    (
        "key_share_taken",
        "One entitlement has used up its share of keys.",
        "Find out what enrols again and again; wait until its certificates have ended.",
    ),
    (
        "key_store_not_configured",
        "Keys in use are in a key store that the configuration does not describe.",
        "Describe it until they are replaced.",
    ),
    (
        "other_trust_domain",
        "`data_dir` belongs to another trust domain.",
        "Set `trust_domain` as it was at the first start, or choose another `data_dir`.",
    ),
    (
        "other_node",
        "The evidence is for another node than before.",
        "Attest again.",
    ),
    (
        "too_many_tokens",
        "Too many join tokens are remembered.",
        "Wait until old ones are forgotten, a day after they end.",
    ),
    (
        "waiver_consumers",
        "A call waives by name, at most so many consumers, or whoever is absent.",
        "Name them as `countersign ca status` does, in several calls.",
    ),
    (
        "no_root",
        "There is no root yet, and so no bundle.",
        "See `countersign ca status`.",
    ),
    (
        "not_waited_for",
        "The pending root does not wait for this consumer.",
        "Name a consumer as `countersign ca status` does.",
    ),
    (
        "message_too_large",
        "The request or the answer is larger than a message may be.",
        "Ask for less at once.",
    ),
    (
        "key_file",
        "The file with the keys of CAs does not read: others can open it, or it holds something else.",
        "`chmod 600` it, or give the file that `ca give-key` wrote.",
    ),
    (
        "keys_count",
        "No key, or too many, are to be moved to another control plane.",
        "Give the file that `ca give-key` wrote.",
    ),
    (
        "import_roots",
        "The file with the roots does not read, or does not fit.",
        "See [CAs](../cas.md).",
    ),
    (
        "import_chain",
        "The signed intermediate does not read, or does not fit the request.",
        "See [CAs](../cas.md).",
    ),
    (
        "invalid_ttl",
        "A lifetime is missing or out of bounds.",
        "See `--help` of the verb.",
    ),
    (
        "invalid_x509_ttl",
        "A lifetime is missing or out of bounds.",
        "See `--help` of the verb.",
    ),
    (
        "invalid_serial",
        "A serial number is not hex.",
        "Write it as `countersign certs list` prints it.",
    ),
    (
        "invalid_criticality",
        "A criticality is none of low, standard and critical.",
        "See `--help` of the verb.",
    ),
    (
        "invalid_ends_within",
        "A time is out of bounds.",
        "See `--help` of the verb.",
    ),
    (
        "invalid_hint",
        "A hint is too long or has control characters.",
        "See `--help` of the verb.",
    ),
    (
        "invalid_selectors",
        "A selector does not read.",
        "See `--help` of the verb.",
    ),
    (
        "invalid_parent",
        "What is signed by hand has no node and no selectors.",
        "Leave out one of them.",
    ),
    (
        "invalid_mode",
        "A registration is asked for without a word on how it is written.",
        "Say MERGE, REPLACE or CREATE, as `countersign register` does.",
    ),
    (
        "invalid_field",
        "A merge names a field that a registration does not have.",
        "Name the fields that the message lists.",
    ),
    (
        "field_not_given",
        "A merge has a value for a field that it does not name: it would be lost.",
        "Name the field in `given`, as `countersign register` does.",
    ),
    (
        "registrations_unreadable",
        "A file of registrations has mistakes; each is in `mistakes` with its line.",
        "Mend what each mistake names; nothing was changed.",
    ),
    (
        "not_applied",
        "Registrations of a file are refused; each is in `mistakes` with its line and code.",
        "Mend the file or the policy; nothing was changed.",
    ),
    (
        "file_too_large",
        "A file of registrations is longer than 4 MiB.",
        "Split it.",
    ),
    (
        "invalid_expiry",
        "An end is in the past or does not read.",
        "See `--help` of the verb.",
    ),
    (
        "invalid_duration",
        "A duration is missing or out of bounds.",
        "See `--help` of the verb.",
    ),
];

/// Codes of one kind, with what each says.
pub(super) const OF_A_KIND: &[(&str, &[(&str, &str)])] = &[
    (
        "Certification requests, of `countersign sign`",
        &[
            (
                "csr_too_large",
                "The request is larger than a request may be.",
            ),
            (
                "csr_pem",
                "It is neither DER nor one PEM block of a request.",
            ),
            ("csr_too_deep", "It nests too deep."),
            ("csr_trailing_bytes", "Bytes follow the request."),
            ("csr_not_der", "It is not a PKCS #10 request in DER."),
            (
                "csr_duplicate_attribute",
                "An attribute stands in it twice.",
            ),
            (
                "csr_duplicate_extension",
                "An extension stands in it twice.",
            ),
            (
                "csr_key_kind",
                "Its key is not ECDSA P-256 or P-384, or RSA with 2048 to 8192 bits.",
            ),
            (
                "csr_signature_algorithm",
                "Its signature is not ECDSA or RSA with SHA-2, or not of the kind of its key.",
            ),
            (
                "csr_signature_invalid",
                "It is not signed by the key that it names.",
            ),
        ],
    ),
    (
        "SPIFFE IDs",
        &[
            ("id_too_long", "The ID is longer than 2048 bytes."),
            (
                "scheme_not_spiffe",
                "It does not begin with spiffe:// in lower case.",
            ),
            ("trust_domain_empty", "It has no trust domain."),
            (
                "trust_domain_too_long",
                "Its trust domain is longer than 255 bytes.",
            ),
            (
                "trust_domain_character",
                "Its trust domain has a character outside a-z, 0-9, '.', '-' and '_'.",
            ),
            (
                "path_character",
                "Its path has a character outside a-z, A-Z, 0-9, '.', '-' and '_'.",
            ),
            ("path_empty_segment", "Its path has an empty segment."),
            ("path_dot_segment", "Its path has a '.' or '..' segment."),
            ("path_trailing_slash", "It ends with '/'."),
            (
                "path_unexpected",
                "It has a path where only a trust domain is expected.",
            ),
            ("path_missing", "It has no path."),
        ],
    ),
    (
        "Connections that a listener of a sidecar refused: `reason` of its log lines and metrics",
        &[
            ("no_identity", "The identity of the listener is not held."),
            (
                "identity_expired",
                "The certificate of the listener has expired.",
            ),
            (
                "uid_not_admitted",
                "The local program runs as a uid that the registration does not name.",
            ),
            (
                "no_local_owner",
                "No process owns the local end of the connection.",
            ),
            (
                "workload_not_accepting",
                "The program behind the listener does not accept.",
            ),
            ("peer_left", "The peer went away while it was connected."),
            (
                "workload_replaced",
                "The program behind the listener was replaced while connecting.",
            ),
            (
                "local_owner_unknown",
                "The kernel does not tell who owns the local end.",
            ),
            ("connect", "The peer, or the program, cannot be reached."),
            (
                "no_place",
                "The listener, or this peer's share of it, is full.",
            ),
        ],
    ),
];
