//! Every table of both daemons has a named bound, and a test that shows it.
//!
//! A table is a field, a static or a channel that can grow. What a command line tool does for as
//! long as it runs is not looked at. A bound is a constant or a setting; what is bounded by what it
//! belongs to says by what.

use super::source::{Source, every_file, production};

/// Types that grow.
const GROWING: &[&str] = &[
    "HashMap<",
    "HashSet<",
    "BTreeMap<",
    "BTreeSet<",
    "VecDeque<",
    "BinaryHeap<",
    "IndexMap<",
    "Slab<",
    "DelayQueue<",
    "JoinSet<",
    "FuturesUnordered<",
    "Mutex<Vec<",
    "RwLock<Vec<",
    "unbounded",
    "UnboundedSender<",
    "UnboundedReceiver<",
];

/// A field of a struct, a static or a channel.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Table {
    path: String,
    name: String,
    line: usize,
}

/// The tables that a file declares: `Struct.field`, or the static's own name.
fn declared(source: &Source) -> Vec<Table> {
    let mut found = Vec::new();
    let mut owner: Option<(String, usize)> = None;
    for (number, line) in whole_fields(&source.text) {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.contains("unbounded_channel") || text.contains("channel::unbounded") {
            found.push(table(source, "unbounded", number));
        }
        if let Some(name) = item_name(text) {
            owner = Some((name, indent));
        }
        let grows = GROWING.iter().any(|kind| text.contains(kind));
        if let Some(name) = name_of(text, owner.as_ref()).filter(|_| grows) {
            found.push(table(source, &name, number));
        }
        let ends = |(_, at): &(String, usize)| indent == *at && text.ends_with(['}', ';']);
        if owner.as_ref().is_some_and(ends) {
            owner = None;
        }
    }
    found
}

/// The name of what is declared here: an alias, or a field of an item.
fn name_of(text: &str, owner: Option<&(String, usize)>) -> Option<String> {
    alias_name(text).or_else(|| {
        let (owner, _) = owner?;
        Some(format!("{owner}.{}", field_name(text)?))
    })
}

/// The lines, each with what its type goes on with on the next ones.
fn whole_fields(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match lines.last_mut() {
            Some((_, open)) if open.ends_with([':', '<']) => open.push_str(line.trim_start()),
            _ => lines.push((number, line.to_owned())),
        }
    }
    lines
}

fn table(source: &Source, name: &str, number: usize) -> Table {
    Table {
        path: source.path.clone(),
        name: name.to_owned(),
        line: number + 1,
    }
}

/// `struct X`, `enum X` or `static X`, whatever its visibility.
fn item_name(text: &str) -> Option<String> {
    let words: Vec<_> = text.split([' ', '<', '(', ':', ';', '{']).collect();
    let at = words
        .iter()
        .position(|word| ["struct", "enum", "static"].contains(word))?;
    let is_head = text.starts_with("pub") || at == 0;
    is_head.then(|| words.get(at + 1).map(|name| (*name).to_owned()))?
}

/// `type X = …`.
fn alias_name(text: &str) -> Option<String> {
    let (head, _) = text.split_once('=')?;
    let head = head
        .split_once("type ")
        .filter(|(before, _)| before.is_empty() || before.starts_with("pub"))?
        .1;
    Some(head.split(['<', ' ']).next()?.to_owned())
}

/// The name of a field, or 0 in a tuple.
fn field_name(text: &str) -> Option<String> {
    if item_name(text).is_some() {
        return Some("0".to_owned());
    }
    let (name, kind) = text.split_once(':')?;
    let name = name.trim_start_matches("pub").trim_start();
    let name = name
        .strip_prefix("(crate)")
        .or(name.strip_prefix("(super)"))
        .unwrap_or(name);
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_type = GROWING.iter().any(|growing| kind.contains(growing));
    (is_name(name.trim()) && is_type).then(|| name.trim().to_owned())
}

type Places = &'static [(&'static str, &'static str)];

/// Bound, the test that shows it, and the tables.
const BOUNDED: &[(&str, &str, Places)] = &[
    (
        "MAX_QUESTIONS",
        "many_questions_take_few_descriptors",
        &[("sidecar/src/attest/socket_owner/diagnostics.rs", "IDLE.0")],
    ),
    (
        "MAX_CALLERS",
        "callers_that_are_quiet_are_forgotten",
        &[("control-plane/admission/src/queue.rs", "Queue.callers")],
    ),
    (
        "max_queued",
        "a_full_queue_refuses_with_the_time_it_needs",
        &[
            ("control-plane/admission/src/queue.rs", "Queue.rings"),
            ("control-plane/admission/src/queue.rs", "Queue.ageing"),
            ("control-plane/admission/src/queue.rs", "Queued.waiting"),
        ],
    ),
    (
        "MAX_NODES",
        "nodes_are_bounded_and_forgotten",
        &[
            ("control-plane/attest/src/nodes.rs", "Nodes.known"),
            ("control-plane/fleet/src/hub.rs", "Hub.seats"),
        ],
    ),
    (
        "MAX_NODES",
        "what_nodes_told_is_bounded_and_forgotten",
        &[("control-plane/fleet/src/lib.rs", "Fleet.nodes")],
    ),
    (
        "MAX_ENDPOINTS",
        "what_one_node_told_is_bounded",
        &[
            ("control-plane/fleet/src/lib.rs", "NodeState.acknowledged"),
            ("control-plane/fleet/src/lib.rs", "NodeState.served"),
        ],
    ),
    (
        "MAX_LANES",
        "what_a_rotation_remembers_is_bounded",
        &[("control-plane/fleet/src/rotation.rs", "Course.lanes")],
    ),
    (
        "MAX_ROWS",
        "refused_attestations_are_bounded_and_counted",
        &[
            ("control-plane/attest/src/refusals.rs", "Refusals.proven"),
            ("control-plane/attest/src/refusals.rs", "Refusals.unproven"),
        ],
    ),
    (
        "MAX_RENEWED",
        "renewed_proofs_are_bounded_and_end",
        &[(
            "control-plane/attest/src/attestor/node_svid.rs",
            "Renewed.proofs",
        )],
    ),
    (
        "MAX_TOKENS",
        "tokens_have_bounds",
        &[
            (
                "control-plane/attest/src/attestor/join_token/tokens.rs",
                "Tokens.known",
            ),
            (
                "control-plane/attest/src/attestor/join_token/tokens.rs",
                "Tokens.by_node",
            ),
            (
                "control-plane/attest/src/attestor/join_token/tokens.rs",
                "Tokens.ends",
            ),
        ],
    ),
    (
        "MAX_APPLIED",
        "applied_are_bounded",
        &[
            (
                "control-plane/authority/src/registrations/draft.rs",
                "Together.nodes",
            ),
            (
                "control-plane/authority/src/registrations/draft.rs",
                "Together.seen",
            ),
        ],
    ),
    (
        "MAX_KEYS",
        "keys_beyond_the_bound_are_refused_before_the_log",
        &[
            (
                "control-plane/authority/src/key_uses/shares.rs",
                "KeyTable.0",
            ),
            (
                "control-plane/authority/src/key_uses/shares.rs",
                "Shares.held",
            ),
            ("control-plane/authority/src/state.rs", "Published.by_node"),
            (
                "control-plane/authority/src/state/certificates.rs",
                "ManualRecords.0",
            ),
        ],
    ),
    (
        "MAX_KEYS",
        "ended_lineages_give_their_room_back",
        &[
            ("control-plane/inventory/src/lib.rs", "Inventory.lineages"),
            ("control-plane/inventory/src/names.rs", "Names.texts"),
            ("control-plane/inventory/src/names.rs", "Names.accounts"),
        ],
    ),
    (
        "MAX_UNVOIDED",
        "voids_that_wait_stop_certificates_at_their_bound",
        &[(
            "control-plane/authority/src/ledger/voids.rs",
            "Unvoided.indexes",
        )],
    ),
    (
        "MAX_PAIRS",
        "callers_beyond_the_bound_are_counted_together",
        &[(
            "control-plane/authority/src/ledger/refusals.rs",
            "Refusals.0",
        )],
    ),
    (
        "MAX_REQUESTS",
        "remembered_requests_are_bounded",
        &[
            (
                "control-plane/authority/src/ca_requests.rs",
                "CaRequests.waiting",
            ),
            (
                "control-plane/authority/src/ca_requests.rs",
                "CaRequests.answered",
            ),
        ],
    ),
    (
        "MAX_REPLICAS",
        "replicas_are_bounded_and_names_used_once",
        &[
            (
                "control-plane/authority/src/state/replicas.rs",
                "Replicas.known",
            ),
            ("control-plane/fleet/src/balance.rs", "Balance.trials"),
        ],
    ),
    (
        "MAX_NODES",
        "acknowledged_rows_are_bounded_and_of_their_node",
        &[(
            "control-plane/authority/src/state/acknowledged.rs",
            "AcknowledgedRows.0",
        )],
    ),
    (
        "MAX_NODES",
        "stream_rows_are_bounded",
        &[(
            "control-plane/authority/src/state/streams.rs",
            "StreamRows.0",
        )],
    ),
    (
        "MAX_NODES",
        "what_nodes_told_is_bounded_and_forgotten",
        &[("control-plane/fleet/src/streams.rs", "Moved.0")],
    ),
    (
        "WISHES_PER_SECOND",
        "streams_are_spread_once_and_stay",
        &[("control-plane/fleet/src/balance.rs", "Balance.asked")],
    ),
    (
        "MAX_UNDESTROYED",
        "keys_beyond_the_bound_are_not_remembered",
        &[("control-plane/authority/src/rollback.rs", "Undestroyed.0")],
    ),
    (
        "MAX_VOIDS",
        "voids_beyond_the_bound_are_forgotten",
        &[(
            "control-plane/authority/src/key_uses/voids.rs",
            "Voids.certificates",
        )],
    ),
    (
        "waiting",
        "a_caller_waits_for_a_place_and_those_beyond_the_bound_do_not",
        &[
            (
                "control-plane/keys/src/calls/in_flight.rs",
                "InFlight.under_way",
            ),
            ("control-plane/keys/src/calls.rs", "Calls.idle"),
        ],
    ),
    (
        "MAX_TOUCHED",
        "beyond_the_bound_everything_is_looked_at",
        &[("control-plane/fleet/src/hub.rs", "News.events")],
    ),
    (
        "MAX_LABELS",
        "labels_leave_the_key_alone_and_are_bounded",
        &[
            ("core/model/src/registration.rs", "Registration.labels"),
            ("control-plane/registry/src/account.rs", "Account.labels"),
            ("control-plane/inventory/src/snapshot.rs", "Row.labels"),
        ],
    ),
    (
        "MAX_PRINCIPALS",
        "remembered_principals_are_bounded",
        &[(
            "core/telemetry/src/peer_lines/limit.rs",
            "LineLimit.principals",
        )],
    ),
    (
        "MAX_PROGRAMS",
        "remembered_programs_are_bounded",
        &[("sidecar/src/attest/program/seen.rs", "Programs.seen")],
    ),
    (
        "MAX_BANS",
        "bans_have_a_bound",
        &[("control-plane/attest/src/bans.rs", "Bans.0")],
    ),
    (
        "MAX_HEARTBEATS",
        "heartbeats_are_bounded",
        &[
            (
                "control-plane/authority/src/state/replicas.rs",
                "Replicas.heartbeats",
            ),
            (
                "control-plane/authority/src/state/replicas.rs",
                "Replicas.moments",
            ),
        ],
    ),
    (
        "MAX_UNSIGNED",
        "unsigned_certificates_are_bounded",
        &[
            (
                "control-plane/authority/src/state/unsigned.rs",
                "Unsigned.waiting",
            ),
            (
                "control-plane/authority/src/state/unsigned.rs",
                "Unsigned.order",
            ),
        ],
    ),
    (
        "MAX_WAIVERS",
        "waivers_have_a_bound",
        &[("control-plane/authority/src/state/waivers.rs", "Waivers.0")],
    ),
    (
        "MAX_KNOWN",
        "remembered_serials_are_bounded",
        &[(
            "control-plane/ca/src/log/known_serials.rs",
            "KnownSerials.0",
        )],
    ),
    (
        "SERVER_KEYS",
        "own_keys_of_the_listener_are_bounded",
        &[("control-plane/authority/src/refused_keys.rs", "Own.servers")],
    ),
    (
        "MAX_CONSUMERS",
        "short_lived_callers_fold_into_one",
        &[
            ("sidecar/src/consumers.rs", "Consumers.consumers"),
            ("sidecar/src/consumers.rs", "Consumers.open"),
        ],
    ),
    (
        "MAX_STREAMS_PER_UID",
        "one_user_cannot_take_anothers_place",
        &[("sidecar/src/local_api/quota.rs", "StreamQuota.0")],
    ),
];

/// Tables with an entry for each of something that is bounded itself, and what that is.
const FOLLOWING: &[(&str, Places)] = &[
    (
        "a place in a CA's slot: MAX_ROOTS, MAX_INTERMEDIATES, MAX_ISSUING",
        &[
            ("control-plane/ca/src/slots.rs", "Slots.0"),
            ("control-plane/ca/src/authorities.rs", "Authorities.records"),
            ("control-plane/ca/src/authorities.rs", "Authorities.paths"),
            ("control-plane/authority/src/ca_set.rs", "CaSet.keys"),
            ("control-plane/keys/src/memory.rs", "MemoryKeys.0"),
            ("control-plane/issue/src/key/refused.rs", "RefusedKeys.ours"),
        ],
    ),
    (
        "a registration: MAX_REGISTRATIONS",
        &[
            ("control-plane/registry/src/lib.rs", "ByNode"),
            ("control-plane/registry/src/lib.rs", "Registry.manual"),
            ("control-plane/registry/src/lib.rs", "Registry.ends"),
            ("control-plane/registry/src/lib.rs", "Registry.places"),
            ("control-plane/registry/src/lib.rs", "Registry.ids"),
            ("control-plane/registry/src/lib.rs", "Registry.ttls"),
        ],
    ),
    (
        "a removal that was not heard of: MAX_TOMBSTONES of each node",
        &[
            (
                "control-plane/registry/src/tombstones.rs",
                "Tombstones.by_node",
            ),
            (
                "control-plane/registry/src/tombstones.rs",
                "Tombstones.ends",
            ),
            (
                "control-plane/registry/src/tombstones.rs",
                "Tombstones.crowded",
            ),
        ],
    ),
    (
        "a node whose word is kept: MAX_WORDS",
        &[
            ("control-plane/authority/src/doubts.rs", "Doubts.words"),
            (
                "control-plane/authority/src/doubts.rs",
                "StoredDoubts.words",
            ),
        ],
    ),
    (
        "a node, attested, banned or registered: MAX_NODES, MAX_BANS, MAX_REGISTRATIONS",
        &[(
            "control-plane/daemon/src/api/admin/status.rs",
            "Progress.left",
        )],
    ),
    (
        "a consumer that is kept by name while it is away: MAX_ABSENT",
        &[("control-plane/fleet/src/lib.rs", "Carried.ids")],
    ),
    (
        "a waiver: MAX_WAIVERS",
        &[("control-plane/fleet/src/gate.rs", "Waived.by_name")],
    ),
    (
        "the log of a control plane that has joined: MAX_REPLICAS at a time",
        &[
            (
                "control-plane/inventory/src/snapshot.rs",
                "OtherLogs.oldest_live",
            ),
            (
                "control-plane/inventory/src/snapshot.rs",
                "Head.others_oldest_live",
            ),
        ],
    ),
    (
        "an enrolment that runs: STRIPES",
        &[
            ("control-plane/authority/src/key_uses.rs", "Keys.renewing"),
            ("control-plane/authority/src/key_uses/claims.rs", "Claims.0"),
        ],
    ),
    (
        "a handle of a key: MAX_HANDLES",
        &[(
            "control-plane/keys/src/pkcs11/objects.rs",
            "OpenSession.handles",
        )],
    ),
    (
        "a file of a backup: MAX_FILES",
        &[
            ("control-plane/backup/src/manifest.rs", "Manifest.files"),
            ("control-plane/backup/src/pack.rs", "Pack.files"),
        ],
    ),
    (
        "an entry of the log that is not published: MAX_SEGMENTS",
        &[("control-plane/tlog/src/journal/tail.rs", "Held.segments")],
    ),
    (
        "a name of a stream: Limits",
        &[
            ("core/discovery/src/server.rs", "Server.topics"),
            ("core/discovery/src/server.rs", "Server.unanswered"),
            ("core/discovery/src/topic.rs", "Topic.names"),
            ("core/discovery/src/topic.rs", "Topic.dirty"),
            ("core/discovery/src/topic.rs", "Topic.departed"),
            (
                "core/discovery/src/state_of_the_world.rs",
                "StateSession.lists",
            ),
            (
                "core/discovery/src/delta.rs",
                "DeltaRequest.initial_versions",
            ),
            ("sidecar/src/sds/stream.rs", "SecretStream.fresh"),
            ("sidecar/src/sds/stream.rs", "Given"),
        ],
    ),
    (
        "a connection: MAX_CONNECTIONS, and shares of it",
        &[
            ("core/serve/src/places/ranking.rs", "Ranking.taken"),
            ("core/serve/src/places/ranking.rs", "Ranking.holders"),
        ],
    ),
    (
        "a connection that waits to be accepted: LISTEN_BACKLOG",
        &[("core/serve/src/unix/kept.rs", "UnixSocket.waiting")],
    ),
    (
        "a byte that is held of a message",
        &[
            ("core/serve/src/messages/budget.rs", "Held.by_payer"),
            ("core/serve/src/messages/pieces.rs", "Pieces.pieces"),
        ],
    ),
    (
        "a call of one connection: Capacity",
        &[("core/serve/src/messages/intake.rs", "Intakes.bodies")],
    ),
    (
        "an entitlement of the node: MAX_ENTITLEMENTS",
        &[
            ("sidecar/src/holdings.rs", "Snapshot.entries"),
            ("sidecar/src/holdings.rs", "Holdings.demand"),
            ("sidecar/src/holdings.rs", "Entries"),
            ("sidecar/src/identity/renew.rs", "Renewals.progress"),
            ("sidecar/src/control/session.rs", "Session.refused"),
            ("sidecar/src/sds/secrets.rs", "Cache.secrets"),
            ("sidecar/src/attest/program/lookup.rs", "Lookups.by_path"),
            ("sidecar/src/local_api/admissible.rs", "Asking.alone"),
            ("sidecar/src/local_api/admissible.rs", "Asking.with_program"),
            ("core/discovery/src/client.rs", "DeltaClient.types"),
            ("core/discovery/src/client.rs", "Wanted.names"),
            ("core/discovery/src/client.rs", "Wanted.held"),
        ],
    ),
    (
        "a stream of a local caller: MAX_STREAMS_PER_UID",
        &[("sidecar/src/holdings/followers.rs", "Table.followers")],
    ),
    (
        "an enrolment under way: MAX_CONCURRENT_ENROLMENTS",
        &[
            ("sidecar/src/control/session.rs", "Session.enrolments"),
            ("sidecar/src/control/session.rs", "Session.in_flight"),
        ],
    ),
    (
        "a selector of one caller",
        &[("core/model/src/selector.rs", "Claimed.0")],
    ),
];

/// Tables that no peer makes grow, and what does.
const GIVEN: &[(&str, Places)] = &[
    (
        "the configuration",
        &[
            ("control-plane/keys/src/pkcs11/module.rs", "MODULES.0"),
            ("control-plane/keys/src/stores.rs", "Stores.stores"),
            ("core/cli/src/config/reader.rs", "Reader.asked"),
            ("core/verify/src/bundle.rs", "BundleSet.0"),
            ("sidecar/src/proxy/identity.rs", "Identities.identities"),
            ("sidecar/src/proxy/identity.rs", "Served"),
        ],
    ),
    (
        "a fixed set of words",
        &[
            ("control-plane/authority/src/identity.rs", "Meta"),
            ("control-plane/issue/src/key/known_bad.rs", "HASHES.0"),
            ("core/serve/src/counters.rs", "Counters.reasons"),
            (
                "control-plane/daemon/src/api/admin/status/totals.rs",
                "Totals.by_state",
            ),
        ],
    ),
    (
        "one certificate or proof, while it is made",
        &[
            ("control-plane/issue/src/template.rs", "Witness.0"),
            ("control-plane/tlog/src/proof.rs", "Tiles.read"),
            ("control-plane/tlog/src/tile.rs", "Written.folders"),
        ],
    ),
    (
        "one reading of the log, a bundle at a time, or at the start",
        &[
            ("control-plane/tlog/src/read.rs", "Scan.ready"),
            (
                "control-plane/authority/src/unfinished.rs",
                "Unfinished.noted",
            ),
            ("control-plane/authority/src/restoring.rs", "Reading.voided"),
            (
                "control-plane/authority/src/restoring.rs",
                "Reading.accounts",
            ),
        ],
    ),
    (
        "one backup",
        &[
            ("control-plane/tlog/src/snapshot.rs", "Snapshot.grows"),
            ("control-plane/tlog/src/snapshot.rs", "Linking.grows"),
        ],
    ),
    (
        "one batch of commits, each of which names a few preconditions and entries",
        &[
            ("control-plane/store/src/database.rs", "Found.values"),
            ("control-plane/store/src/database.rs", "Found.entries"),
        ],
    ),
    (
        "a test or a simulation",
        &[
            ("control-plane/store/src/memory.rs", "Content.entries"),
            ("control-plane/store/src/memory.rs", "Content.logs"),
            ("control-plane/store/src/memory.rs", "Content.signatures"),
            ("control-plane/store/src/memory.rs", "Content.writers"),
            ("control-plane/store/src/memory.rs", "Content.marks"),
        ],
    ),
    (
        "the borrowed view of one answer",
        &[
            ("sidecar/src/status.rs", "Sources.demanded"),
            ("sidecar/src/sds/view.rs", "CallerView.by_id"),
            ("sidecar/src/lifecycle/readiness.rs", "View.not_installed"),
        ],
    ),
];

/// Every place that the tables above list.
fn listed() -> Vec<(&'static str, &'static str)> {
    let bounded = BOUNDED.iter().map(|(_, _, places)| *places);
    let following = FOLLOWING.iter().chain(GIVEN).map(|(_, places)| *places);
    bounded.chain(following).flatten().copied().collect()
}

fn is_listed(table: &Table) -> bool {
    let mut places = listed().into_iter();
    places.any(|(path, name)| path == table.path && name == table.name)
}

/// What only runs for one command, or only in tests.
fn is_looked_at(source: &Source) -> bool {
    let elsewhere = [
        "control-plane/audit/",
        "control-plane/cli/",
        "core/discovery/src/convergence/",
    ];
    !elsewhere
        .iter()
        .any(|folder| source.path.starts_with(folder))
}

#[test]
fn no_table_is_without_a_bound() {
    let sources = production();
    let looked_at = sources.iter().filter(|source| is_looked_at(source));
    let tables: Vec<_> = looked_at.flat_map(declared).collect();
    assert!(tables.len() > 60, "the scan found {} tables", tables.len());
    let unknown: Vec<_> = tables.iter().filter(|table| !is_listed(table)).collect();
    assert!(
        unknown.is_empty(),
        "what bounds these tables, and which test shows it? List them in {}: {unknown:#?}",
        file!()
    );
    for (path, name) in listed() {
        let is_there = |table: &Table| table.path == path && table.name == name;
        assert!(tables.iter().any(is_there), "{path} has no table {name}");
    }
}

#[test]
fn every_bound_and_its_test_are_there() {
    let sources = production();
    let everything = every_file();
    for (bound, test, _) in BOUNDED {
        let is_named = |source: &Source| {
            let constant = format!("const {bound}:");
            let setting = format!("{bound}: usize");
            source.text.contains(&constant) || source.text.contains(&setting)
        };
        assert!(sources.iter().any(is_named), "no bound is named {bound}");
        let head = format!("fn {test}(");
        let is_test = |text: &String| text.contains(&head);
        assert!(everything.iter().any(is_test), "no test is named {test}");
    }
}

/// The constants that a sentence names.
fn constants(sentence: &str) -> impl Iterator<Item = &str> {
    let words = sentence.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    words.filter(|word| word.contains('_'))
}

#[test]
fn bounds_that_are_followed_are_there() {
    let sources = production();
    for (what, _) in FOLLOWING {
        for bound in constants(what) {
            let constant = format!("const {bound}:");
            let is_there = |source: &Source| source.text.contains(&constant);
            assert!(sources.iter().any(is_there), "no bound is named {bound}");
        }
    }
}

#[test]
fn a_planted_table_is_found() {
    let planted = "\
pub(crate) struct Graph {
    name: String,
    pub(super) edges: Mutex<HashMap<Node, Vec<Edge>>>,
    long:
        BTreeMap<Node, Edge>,
}
struct Roots(HashSet<Node>);
type ByName = HashMap<String, Node>;
fn run() {
    let local: HashMap<u8, u8> = HashMap::new();
    let (sender, receiver) = mpsc::unbounded_channel();
}
";
    let tables = declared(&Source::new("sidecar/src/planted.rs", planted));
    let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
    let expected = [
        "Graph.edges",
        "Graph.long",
        "Roots.0",
        "ByName",
        "unbounded",
    ];
    assert_eq!(names, expected);
    assert!(!tables.iter().any(is_listed));
}
