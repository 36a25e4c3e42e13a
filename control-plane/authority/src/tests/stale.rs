//! A control plane that has not heard yet of what another one did, or cannot hear of it.

use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_store::Shared;
use countersign_store::memory::{Asked, Direct, MemoryDatabase, Way};

use super::super::{Invitation, Reached};
use super::*;

/// No notice arrives, and nothing at all where it is cut.
#[derive(Clone, Debug, Default)]
struct Deaf(Arc<AtomicBool>);

type Passes<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

impl Way for Deaf {
    fn there(&self, _: Asked) -> Passes<'_> {
        let is_cut = self.0.load(Ordering::Acquire);
        let passed = if is_cut {
            Err("cut".to_owned())
        } else {
            Ok(())
        };
        Box::pin(ready(passed))
    }

    fn back(&self, asked: Asked) -> Passes<'_> {
        self.there(asked)
    }

    fn commits(&self) -> bool {
        true
    }

    fn notice(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(pending())
    }
}

/// One of several, at a database in memory.
pub(super) async fn member(
    database: &MemoryDatabase,
    way: Arc<dyn Way>,
    (name, invitation): (&str, Option<Invitation>),
) -> Plane {
    let dir = Dir::new();
    let mut settings = settings(&dir.path().join("cp"));
    settings.store = StoreSettings::Postgres {
        address: DatabaseAddress::parse("postgresql://c@localhost/mesh", None).unwrap(),
        replica: name.to_owned(),
        invitation,
    };
    let database: Arc<dyn Shared> = Arc::new(database.reached(way));
    let authority = Authority::open_in(settings, Some(database), start()).await;
    Plane {
        authority: authority.unwrap(),
        dir,
    }
}

/// `a`, and `b` which hears of nothing by itself.
async fn two() -> (Plane, Plane, Deaf) {
    let (database, deaf) = (MemoryDatabase::default(), Deaf::default());
    let a = member(&database, Arc::new(Direct), ("a", None)).await;
    let invited = a.authority.invite_replica("b", 10 * MINUTE, start()).await;
    let invitation = invited.unwrap().0;
    let b = member(&database, Arc::new(deaf.clone()), ("b", Some(invitation))).await;
    (a, b, deaf)
}

fn web() -> RegistrationRequest {
    RegistrationRequest {
        registration: registration("/web", "/node/a"),
        names_criticality: true,
        mode: Mode::Replace,
    }
}

#[tokio::test]
async fn act_that_changes_nothing_is_judged_by_the_newest_state() {
    let (a, b, _) = two().await;
    let id = web().registration.key.id;
    b.authority.register(web(), false, start()).await.unwrap();
    let sequence = b.authority.stamp().sequence;
    assert_eq!(a.authority.reach(sequence).await, Reached::Here);
    a.authority.unregister(&id, None, start()).await.unwrap();
    // By what `b` knows it is registered.
    b.authority.register(web(), false, start()).await.unwrap();
    let sequence = b.authority.stamp().sequence;
    assert_eq!(a.authority.reach(sequence).await, Reached::Here);
    let again = a.authority.unregister(&id, None, start()).await;
    assert!(again.is_ok(), "it was acknowledged: {again:?}");
}

#[tokio::test]
async fn nothing_is_acknowledged_without_the_database() {
    let (_a, b, deaf) = two().await;
    b.authority.register(web(), false, start()).await.unwrap();
    deaf.0.store(true, Ordering::Release);
    let again = b.authority.register(web(), false, start()).await;
    assert!(
        matches!(again, Err(AuthorityError::Unavailable(_))),
        "{again:?}"
    );
    deaf.0.store(false, Ordering::Release);
    b.authority.register(web(), false, start()).await.unwrap();
}
