//! A corrupted byte anywhere in history is found and named.

use super::*;

/// One byte in so many of a file of history is flipped, another one in each run of a file; every
/// byte of a checkpoint.
const STRIDE: usize = 61;

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(files_in(&path));
        } else {
            paths.push(path);
        }
    }
    paths
}

fn history() -> Scene {
    let scene = Scene::new();
    let log = scene.open();
    for (hour, size) in [(0, 100), (1, 600)] {
        scene.fill(&log, size);
        log.publish(at(hour)).unwrap();
    }
    drop(log);
    scene
}

fn named(scene: &Scene, path: &Path, what: &str) {
    let (_, flaws) = scene.judge();
    let name = path.display().to_string();
    assert!(
        flaws.iter().any(|flaw| flaw.file == name),
        "{name}, {what}: {flaws:?}"
    );
    let others: Vec<&Flaw> = flaws.iter().filter(|flaw| flaw.file != name).collect();
    assert!(others.is_empty(), "{name}, {what}: blamed {others:?}");
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let scene = history();
    assert_eq!(scene.judge().1, []);
    let mut paths = files_in(&scene.dir().join("tile"));
    paths.sort();
    // Two full bundles and tiles, the partial ones behind them, and one tile above.
    assert_eq!(paths.len(), 7);
    let tiles = paths.len();
    paths.push(scene.dir().join("checkpoint"));
    paths.extend(files_in(&scene.dir().join("checkpoints")));
    let mut flips = 0;
    for (number, path) in paths.iter().enumerate() {
        let whole = fs::read(path).unwrap();
        let step = if number < tiles { STRIDE } else { 1 };
        for at in (number % step..whole.len()).step_by(step) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(path, &flipped).unwrap();
            named(&scene, path, &format!("byte {at}"));
            flips += 1;
        }
        fs::write(path, &whole).unwrap();
    }
    assert!(flips > 900, "{flips}");
    assert_eq!(scene.judge().1, []);
}

#[test]
fn a_flipped_byte_of_a_body_is_named_by_its_entry() {
    let scene = history();
    let path = scene.dir().join("tile/entries/001");
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    let last = whole.len() - 1;
    flipped[last] ^= 0x20;
    fs::write(&path, &flipped).unwrap();
    let (_, flaws) = scene.judge();
    assert_eq!(flaws.len(), 1);
    assert_eq!(flaws[0].index, Some(511));
    assert!(flaws[0].offset.is_some_and(|offset| offset <= last as u64));
}

#[test]
fn a_missing_cut_or_longer_file_is_named() {
    let scene = history();
    let mut paths = files_in(&scene.dir().join("tile"));
    paths.extend(files_in(&scene.dir().join("checkpoints")));
    for path in paths {
        let whole = fs::read(&path).unwrap();
        if path.starts_with(scene.dir().join("tile")) {
            fs::remove_file(&path).unwrap();
            named(&scene, &path, "missing");
        }
        for end in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..end]).unwrap();
            named(&scene, &path, "cut");
        }
        fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        named(&scene, &path, "longer");
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn exchanged_files_are_found() {
    let scene = history();
    let (first, second) = (
        scene.dir().join("tile/entries/000"),
        scene.dir().join("tile/entries/001"),
    );
    let (one, two) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
    fs::write(&first, two).unwrap();
    fs::write(&second, one).unwrap();
    assert!(scene.judge().1.iter().any(|flaw| flaw.index == Some(0)));
}
