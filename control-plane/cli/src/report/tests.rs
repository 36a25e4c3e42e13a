//! The page, made from facts of which some are hostile.

use countersign_proto::admin as wire;
use proptest::prelude::*;

use super::*;

const HOSTILE: &str = "<script src=https://evil.example/x.js>alert(1)</script>\" onload=\"x";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn on_wire(second: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: second,
        nanos: 0,
    })
}

fn endpoint(id: &str) -> wire::EndpointStatus {
    wire::EndpointStatus {
        entitlement: "reg-1".to_owned(),
        id: id.to_owned(),
        wanted: "0a1b2c00000000070011223344556677".to_owned(),
        acknowledged: "0a1b2c00000000070011223344556677".to_owned(),
        issued_at: on_wire(1_000),
        renewal_due: on_wire(2_000),
        not_after: on_wire(3_000),
        state: "held".to_owned(),
        ..wire::EndpointStatus::default()
    }
}

fn node(id: &str, consumers: usize) -> wire::NodeStatus {
    let consumer = |n| wire::ConsumerStatus {
        id: format!("{HOSTILE}{n}"),
        kind: "envoy".to_owned(),
        resource: HOSTILE.to_owned(),
        connected: true,
        validates: true,
        ..wire::ConsumerStatus::default()
    };
    wire::NodeStatus {
        id: id.to_owned(),
        connected: true,
        state: "connected".to_owned(),
        since: on_wire(900),
        endpoints: vec![endpoint("spiffe://example.org/web"), endpoint(HOSTILE)],
        consumers: (0..consumers).map(consumer).collect(),
        ..wire::NodeStatus::default()
    }
}

fn lane(consumer: String) -> wire::RotationLane {
    let sighting = |second, root: &str| wire::RotationSighting {
        at: on_wire(second),
        id: HOSTILE.to_owned(),
        serial: "0a1b".to_owned(),
        root: root.to_owned(),
    };
    wire::RotationLane {
        consumer,
        acknowledged_at: on_wire(1_004),
        sightings: vec![sighting(1_002, "old"), sighting(1_009, "new")],
        failures: vec![wire::RotationFailures {
            until: on_wire(1_005),
            count: 3,
        }],
        ..wire::RotationLane::default()
    }
}

fn facts(nodes: usize, consumers: usize, lanes: usize) -> Facts {
    let mut status = Shown::default();
    status.take_in(wire::StatusResponse {
        at: on_wire(1_500),
        trust_domain: "example.org".to_owned(),
        alarms: vec![HOSTILE.to_owned()],
        ..wire::StatusResponse::default()
    });
    status.take_in(wire::StatusResponse {
        nodes: (0..nodes)
            .map(|n| node(&format!("spiffe://example.org/node/{n}"), consumers))
            .collect(),
        ..wire::StatusResponse::default()
    });
    let rotation = wire::LastRotationResponse {
        old_root: "old".to_owned(),
        new_root: "new".to_owned(),
        since: on_wire(1_000),
        activated_at: on_wire(1_008),
        lanes: (0..lanes).map(|n| lane(format!("{HOSTILE}{n}"))).collect(),
        ..wire::LastRotationResponse::default()
    };
    Facts {
        at: at(1_500),
        html: None,
        status,
        rotation: rotation.into(),
    }
}

#[test]
fn what_a_node_reported_stays_text() {
    let page = page::of(&facts(2, 3, 2));
    assert!(page.contains("&lt;script"), "it is shown");
    assert!(!page.contains("<script"), "{page}");
    // What would leave an attribute.
    assert!(!page.contains("\" onload=\""), "{page}");
}

#[test]
fn page_asks_nothing_of_the_network() {
    // The hostile name is text, and cut where it is long.
    let page = page::of(&facts(1, 1, 1)).replace("&lt;script src=", "");
    assert!(page.contains("default-src 'none'"));
    for asks in [
        "src=", "<link", "@import", "url(", "<iframe", "<object", "<img",
    ] {
        assert!(!page.contains(asks), "{asks}");
    }
}

/// HTML knows no end of an SVG element but its own tag: without it all that follows lies within.
#[test]
fn every_shape_ends_where_it_begins() {
    let page = page::of(&facts(2, 2, 2));
    for shape in ["rect", "line", "path", "circle"] {
        let begin = format!("<{shape} ");
        let mut shapes = page.split(&begin).skip(1).peekable();
        assert!(shapes.peek().is_some(), "{shape}");
        for after in shapes {
            let inside = after.split_once('>').unwrap().1;
            let ends = inside.starts_with(&format!("</{shape}>")) || inside.starts_with("<title>");
            assert!(ends, "{shape}: {after:.120}");
        }
    }
}

#[test]
fn large_meshes_are_cut_and_say_so() {
    let page = page::of(&facts(700, 40, 400));
    let rows = page.matches("<tr class=").count();
    assert_eq!(rows, lives::MOST_ROWS);
    assert!(page.contains("and 900 more"), "identities");
    assert!(page.contains("and 640 nodes more"));
    assert!(page.contains("and 340 consumers more"));
    assert!(page.len() < 2 * 1024 * 1024, "{} bytes", page.len());
}

#[test]
fn empty_mesh_has_a_page() {
    let mut facts = facts(0, 0, 0);
    facts.rotation = Course::default();
    let page = page::of(&facts);
    for said in [
        "No identity is registered",
        "No node is known",
        "No root was replaced",
    ] {
        assert!(page.contains(said), "{said}");
    }
}

#[test]
fn page_replaces_what_was_there_or_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    fs::write(&file, "before").unwrap();
    write(&file, "after").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "after");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // What lies behind a link that another planted stays as it is.
    let theirs = folder.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    std::os::unix::fs::symlink(&theirs, folder.path().join("report.html.new")).unwrap();
    write(&file, "again").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "again");
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
    fs::remove_file(&theirs).unwrap();
    // A folder cannot be replaced by a page.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    write(&taken, "page").unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// Green says that something is as it should be.
#[test]
fn what_nobody_holds_is_not_green() {
    let mut facts = facts(2, 1, 1);
    let states = [("held", false), ("not_asked_for", false), ("away", true)];
    let nodes = facts.status.nodes.iter_mut();
    let endpoints = nodes.flat_map(|node| &mut node.endpoints);
    for (it, (state, needs_attention)) in endpoints.zip(states) {
        it.state = state.to_owned();
        it.needs_attention = needs_attention;
    }
    let page = page::of(&facts);
    for mark in ["good", "idle", "bad"] {
        assert!(page.contains(&format!("<tr class=\"{mark}\"")), "{mark}");
    }
}

proptest! {
    /// Whatever the texts and times are, there is a page, and its text stays text.
    #[test]
    fn any_text_and_any_time_make_a_page(
        text in "\\PC{0,40}",
        times in proptest::array::uniform4(proptest::option::of(-10_000i64..10_000)),
    ) {
        let mut facts = facts(1, 1, 1);
        let [now, a, b, c] = times;
        facts.at = at(now.unwrap_or(0));
        let times = |it: Option<i64>| it.map(at);
        for node in &mut facts.status.nodes {
            node.id.clone_from(&text);
            for it in &mut node.endpoints {
                it.id.clone_from(&text);
                (it.issued_at, it.renewal_due, it.not_after) = (times(a), times(b), times(c));
            }
        }
        for lane in &mut facts.rotation.lanes {
            lane.consumer.clone_from(&text);
            lane.acknowledged_at = times(c);
        }
        let page = page::of(&facts);
        prop_assert!(!page.contains("NaN") && !page.contains("inf\""));
        prop_assert_eq!(page.matches("<script").count(), 0);
    }
}
