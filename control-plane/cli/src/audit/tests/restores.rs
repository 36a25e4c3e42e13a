//! The keys of a log and of the one before it, as a user gives them.

use countersign_logs::restore::NEXT_ID;

use super::*;

#[test]
fn a_checkpoint_from_before_a_restore_still_counts() {
    let restore = Restore::new();
    let (new, old) = (restore.new_key(), restore.path("old.vkey"));
    let log = restore.options("new", NEXT_ID).dir.display().to_string();
    let [new, old, kept] = [new, old, restore.path("200")].map(|path| path.display().to_string());
    let line = ["audit", "verify", "--log", &log, "--key", &new];
    let more = ["--key", &old, "--checkpoint", &kept];
    assert_eq!(run(&[&line[..], &more[..]].concat()), Ok(Exit::Yes));
    let without = run(&[&line[..], &more[2..]].concat());
    assert_eq!(without, Ok(Exit::No), "whose it is cannot be told");
}

#[test]
fn log_before_a_restore_is_not_taken_for_the_restored() {
    let restore = Restore::new();
    let old = restore.options("old", LOG_ID).dir.display().to_string();
    let keys = [restore.new_key(), restore.path("old.vkey")];
    let [newer, older, kept] =
        [&keys[0], &keys[1], &restore.path("200")].map(|path| path.display().to_string());
    let line = |first, second| {
        let line = ["audit", "verify", "--log", &old, "--key", first];
        run(&[&line[..], &["--key", second, "--checkpoint", &kept]].concat())
    };
    assert_eq!(line(&newer, &older), Ok(Exit::No));
    assert_eq!(line(&older, &newer), Ok(Exit::Yes), "asked as what it is");
}
