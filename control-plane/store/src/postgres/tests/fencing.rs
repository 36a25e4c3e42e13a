//! A writer that is fenced out by another one of the same database.

use super::*;

/// Two stores of one database, the second one's through what a test breaks.
async fn two(cluster: &Cluster) -> (Store, Arc<Store>, Proxy) {
    let database = cluster.database();
    let proxy = Proxy::before(cluster);
    let (a, _) = open(database.url(), "a").await.unwrap();
    let url = database.url().at(&[proxy.address()]).in_clear();
    let (b, _) = open(url, "b").await.unwrap();
    (a, Arc::new(b), proxy)
}

/// What the database holds under a key.
async fn value(store: &Store, key: &str) -> Option<u32> {
    let entries = store.snapshot().await.unwrap().entries;
    let found = entries.iter().find(|entry| entry.key == key);
    found.map(|entry| entry.read().unwrap())
}

#[tokio::test]
async fn fenced_writer_commits_nothing_and_stops() {
    let server = Server::new();
    let (a, _) = server.open().await;
    let (b, _) = open(server.0.url(), "b").await.unwrap();
    b.commit(vec![put("b", 1)], Vec::new()).await.unwrap();
    // Twice: whoever is not certain asks again.
    a.fence_out("b").await.unwrap();
    a.fence_out("b").await.unwrap();
    let refused = b.commit(vec![put("b", 2)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
    assert!(b.is_stopped() && !b.is_older());
    let told = b.refused().told("writes", Default::default()).unwrap();
    assert!(told.contains("b was fenced out"), "{told}");
    assert_eq!(value(&a, "b").await, Some(1));
    // Its data directory does not bring it back, and nobody else is touched.
    let again = open(server.0.url(), "b").await.unwrap_err();
    assert!(matches!(again, StoreError::FencedOut { .. }), "{again}");
    a.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
}

#[tokio::test]
async fn name_that_never_wrote_is_fenced_too() {
    let server = Server::new();
    let (a, _) = server.open().await;
    a.fence_out("b").await.unwrap();
    let refused = open(server.0.url(), "b").await.unwrap_err();
    assert!(matches!(refused, StoreError::FencedOut { .. }), "{refused}");
}

/// It is in the middle of a commit, and does not go on.
#[tokio::test]
async fn fence_waits_for_an_open_transaction() {
    let server = Server::new();
    let (a, _) = server.open().await;
    let (b, _) = open(server.0.url(), "b").await.unwrap();
    let open = Session::open(&server.address()).await.unwrap();
    let begin = "BEGIN; UPDATE countersign.writers SET batch = batch + 1 WHERE name = 'b'";
    open.client().batch_execute(begin).await.unwrap();
    let a = Arc::new(a);
    let fenced = {
        let a = Arc::clone(&a);
        tokio::spawn(async move { a.fence_out("b").await })
    };
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database()";
    let waiting = async {
        while server.0.sql(waits)[0][0] == "0" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, waiting).await.expect("it waits");
    assert!(!fenced.is_finished());
    open.client().batch_execute("ROLLBACK").await.unwrap();
    fenced.await.unwrap().unwrap();
    let refused = b.commit(vec![put("b", 1)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
}

/// Its answer was lost, and before it can ask it is fenced out: it hears what became of its commit.
#[tokio::test(flavor = "multi_thread")]
async fn undecided_commit_of_a_fenced_writer_is_settled() {
    let cluster = Cluster::start();
    for is_made in [true, false] {
        let (a, b, proxy) = two(&cluster).await;
        proxy.refuse();
        match is_made {
            true => proxy.cut_after_commit_forwarded(),
            false => proxy.cut_before_commit_forwarded(),
        }
        let undecided = {
            let b = Arc::clone(&b);
            tokio::spawn(async move { b.commit(vec![put("b", 1)], Vec::new()).await })
        };
        let refusing = async {
            while !b.refused().is_refusing() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(BOUND, refusing).await.expect("its answer is lost");
        a.fence_out("b").await.unwrap();
        assert_eq!(value(&a, "b").await.is_some(), is_made);
        proxy.pass();
        let settled = timeout(BOUND, undecided).await.expect("it is settled");
        let settled = settled.unwrap();
        assert_eq!(settled.is_ok(), is_made, "{settled:?}");
        assert!(is_made || matches!(settled, Err(StoreError::Batch(_))));
        let next = b.commit(vec![put("b", 2)], Vec::new()).await;
        assert!(matches!(next, Err(StoreError::Stopped)), "{next:?}");
        assert_eq!(value(&a, "b").await, is_made.then_some(1));
    }
}
