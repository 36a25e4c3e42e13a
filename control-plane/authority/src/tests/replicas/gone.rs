//! What is told of streams, and of a control plane that is gone: what others say in its place, and what it left, is
//! no sign of life.

use countersign_fleet::streams::{Due, StreamRow};

use super::*;
use crate::Elsewhere;

/// Who fences another one out writes its row. Where that counted as its word, the first by name would be one
/// that is gone, and nothing would be ended by time.
#[tokio::test]
async fn fence_is_no_sign_of_life() {
    let two = Two::new().await;
    let b = &two.b.authority;
    let ends_by_time = || b.listed_replicas(after(62))[1].ends_by_time;
    assert!(ends_by_time(), "nobody with a name before it was heard of");
    b.store.fence_out("a").await.unwrap();
    b.say_fenced_out("a", after(61)).await.unwrap();
    let fenced = &b.listed_replicas(after(62))[0];
    assert_eq!(fenced.standing.state, "fenced");
    assert!(ends_by_time());
}

fn late() -> SpiffeId {
    SpiffeId::new("spiffe://example.org/node/late").unwrap()
}

/// What `replica` has to tell of that node, as this control plane knows the rows.
fn due(by: &Plane, replica: &str, open: bool, second: i64) -> Vec<Due> {
    let instead_of = by.authority.stream_row(&late()).map(|(_, seq)| seq);
    let row = StreamRow {
        replica: replica.to_owned(),
        open,
        since: after(second),
    };
    vec![Due {
        node: late(),
        row,
        instead_of,
    }]
}

#[tokio::test]
async fn row_of_one_that_is_gone_is_no_stream() {
    let two = Two::new().await;
    let (a, b) = (&two.a.authority, &two.b.authority);
    b.tick(after(60)).await.unwrap();
    b.tell_streams(due(&two.b, "b", true, 60)).await.unwrap();
    two.agree().await;
    let at_b = Elsewhere::Open("b".to_owned(), after(60));
    assert_eq!(a.elsewhere(&late(), after(61)), Some(at_b));
    a.store.fence_out("b").await.unwrap();
    a.say_fenced_out("b", after(62)).await.unwrap();
    let gone = a.elsewhere(&late(), after(63));
    assert!(matches!(gone, Some(Elsewhere::Last(_))), "{gone:?}");
}

/// A node goes from one to the other, and both tell of it at the same moment.
#[tokio::test]
async fn row_that_another_wrote_meanwhile_stays() {
    let two = Two::new().await;
    let (a, b) = (&two.a.authority, &two.b.authority);
    a.tell_streams(due(&two.a, "a", true, 10)).await.unwrap();
    two.agree().await;
    let ended = due(&two.a, "a", false, 21);
    b.tell_streams(due(&two.b, "b", true, 20)).await.unwrap();
    let late = a.tell_streams(ended).await;
    assert!(late.is_err());
    two.agree().await;
    for plane in [a, b] {
        let (row, _) = plane.stream_row(&self::late()).unwrap();
        assert_eq!((row.replica.as_str(), row.open), ("b", true));
    }
    // Nor is a row taken for none.
    let mut first = due(&two.a, "a", true, 30);
    first[0].instead_of = None;
    assert!(a.tell_streams(first).await.is_err());
}
