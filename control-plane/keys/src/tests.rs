use super::*;

#[test]
fn keys_in_memory_end_with_their_store() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::new(folder.path(), None);
    let key = stores.create(StoreKind::Memory).unwrap();
    let found = stores.load(StoreKind::Memory, key.key_id(), key.spki());
    assert_eq!(found.unwrap().spki(), key.spki());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    let again = Stores::new(folder.path(), None);
    let gone = again.load(StoreKind::Memory, key.key_id(), key.spki());
    assert!(matches!(gone, Err(KeyError::Gone(_))));
}

#[test]
fn keys_on_disk_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::new(folder.path(), None);
    let key = stores.create(StoreKind::Disk).unwrap();
    let again = Stores::new(folder.path(), None);
    let found = again.load(StoreKind::Disk, key.key_id(), key.spki());
    assert_eq!(found.unwrap().spki(), key.spki());
    again.destroy(StoreKind::Disk, key.key_id()).unwrap();
    let gone = again.load(StoreKind::Disk, key.key_id(), key.spki());
    assert!(matches!(gone, Err(KeyError::Gone(_))));
}

#[test]
fn store_that_nobody_described_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Stores::new(folder.path(), None).create(StoreKind::Pkcs11);
    let refused = refused.unwrap_err().to_string();
    assert_eq!(refused, "the key store pkcs11 is not configured");
}
