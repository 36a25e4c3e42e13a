use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::contract::{Files, Place};
use super::*;

#[tokio::test]
async fn who_is_too_far_behind_is_told() {
    let files = Files::new();
    let (store, _) = files.open().await;
    for n in 0..3 {
        store.commit(vec![put("a", n)], Vec::new()).await.unwrap();
    }
    let path = files.dir_path().join(DATABASE);
    let beside = SqliteConnection::connect(path.to_str().unwrap()).await;
    let trimmed = sqlx::query("DELETE FROM changes WHERE seq < 3");
    trimmed.execute(&mut beside.unwrap()).await.unwrap();
    assert_eq!(store.changes_after(Seq(1)).await.unwrap(), None);
    let next = changes(&store, Seq(2)).await;
    assert_eq!(next, [(Seq(3), put("a", 2))]);
}
