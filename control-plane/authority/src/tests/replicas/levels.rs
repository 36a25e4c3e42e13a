//! The level of a database that two control planes share.

use super::*;
use crate::Level;

/// As it is while `b` is of a version from before there were levels: it took its row and said nothing.
const BEFORE: &str = "UPDATE countersign.schema SET oldest = 1; \
    UPDATE countersign.writers SET run = gen_random_uuid() WHERE name = 'b'";

#[tokio::test]
async fn level_waits_for_who_is_older_until_that_is_sealed() {
    let two = Two::new().await;
    let (a, _) = (&two.a.authority, &two.b);
    assert_eq!(
        a.levels().1.level,
        Level::OWN,
        "nobody older uses what was made now"
    );
    let (levels, was_raised) = a.raise_level().await.unwrap();
    assert_eq!((levels.level, was_raised), (Level::OWN, true));

    two._database.sql(BEFORE);
    let refused = a.raise_level().await;
    let Err(AuthorityError::Denied(refused)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.code, "level_held_back");
    assert!(
        refused.message.contains("b speaks level 1"),
        "{}",
        refused.message
    );
    let (speaks, levels) = a.levels();
    assert_eq!((speaks, levels.level), (Level::OWN, Level::FIRST));
    assert!(levels.in_the_way(speaks).eq(["b"]));

    a.seal_replica("b", false, after(SILENT)).await.unwrap();
    let (levels, was_raised) = a.raise_level().await.unwrap();
    assert_eq!((levels.level, was_raised), (Level::OWN, false));
}

/// Another one raised it: it is found with the next heartbeat.
#[tokio::test]
async fn level_that_another_raised_is_found() {
    let two = Two::new().await;
    let (a, b) = (&two.a.authority, &two.b.authority);
    two._database
        .sql("UPDATE countersign.schema SET oldest = 1");
    for one in [a, b] {
        one.tick(after(10)).await.unwrap();
        assert_eq!(one.levels().1.level, Level::FIRST);
    }
    a.raise_level().await.unwrap();
    b.tick(after(20)).await.unwrap();
    assert_eq!(b.levels().1.level, Level::OWN);
}
