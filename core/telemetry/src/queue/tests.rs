use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use super::*;

/// A reader who takes a piece when it is told to, or is gone.
struct Reader {
    takes: Receiver<io::Result<usize>>,
    taken: Sender<Vec<u8>>,
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.takes.recv().unwrap_or(Ok(usize::MAX))?;
        let piece = &bytes[..most.min(bytes.len())];
        // The test may have seen enough.
        let _ = self.taken.send(piece.to_vec());
        Ok(piece.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reader() -> (Sender<io::Result<usize>>, Receiver<Vec<u8>>, Lines) {
    let (take, takes) = channel();
    let (taken, pieces) = channel();
    let lines = Lines::into(Reader { takes, taken }).unwrap();
    (take, pieces, lines)
}

/// Waits until the writer is at its reader and nothing else waits.
fn until_writing(lines: &Lines) {
    let begun = Instant::now();
    let state = |lines: &Lines| {
        let state = lines.0.lock();
        state.is_writing && state.waiting.is_empty()
    };
    while !state(lines) {
        assert!(begun.elapsed() < Duration::from_secs(30));
        thread::yield_now();
    }
}

#[test]
fn a_reader_that_stands_still_stops_nobody() {
    let (take, pieces, mut lines) = reader();
    let line = |number: usize| format!("{number:0>999}\n").into_bytes();
    lines.write_all(&line(0)).unwrap();
    until_writing(&lines);
    let begun = Instant::now();
    for number in 1..=3_000 {
        lines.write_all(&line(number)).unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    let kept = MAX_QUEUED_BYTES / 1_000;
    assert_eq!(lines.0.lock().waiting.len(), kept * 1_000);
    assert_eq!(lines.0.lock().dropped, 3_000 - kept as u64);
    lines.flush_within_deadline();
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "an end waits for it"
    );
    drop(take);
    lines.flush_within_deadline();
    let written: Vec<u8> = pieces.try_iter().flatten().collect();
    let expected: Vec<u8> = (0..=kept).flat_map(line).collect();
    assert!(written == expected, "{} bytes", written.len());
    let state = lines.0.lock();
    assert_eq!((state.dropped, state.waiting.capacity()), (0, 0));
}

/// A line that told of them would find no room before something was written.
#[test]
fn count_of_dropped_lines_is_not_dropped() {
    let (take, takes) = channel();
    let (taken, pieces) = channel();
    let tell = |lines: &Lines, count| {
        let line = format!("{count} dropped\n");
        lines.clone().write_all(line.as_bytes()).unwrap();
    };
    let mut lines = Lines::telling(Reader { takes, taken }, tell).unwrap();
    lines.write_all(b"first\n").unwrap();
    until_writing(&lines);
    let long = [vec![b'a'; 1_023], vec![b'\n']].concat();
    for _ in 0..3_000 {
        lines.write_all(&long).unwrap();
    }
    drop(take);
    lines.flush_within_deadline();
    let written: Vec<u8> = pieces.try_iter().flatten().collect();
    let written = String::from_utf8(written).unwrap();
    let told: Vec<&str> = written
        .lines()
        .filter(|it| it.ends_with("dropped"))
        .collect();
    assert_eq!(told, ["1976 dropped"]);
}

#[test]
fn lines_of_a_reader_that_left_are_counted() {
    let (take, pieces, mut lines) = reader();
    take.send(Ok(2)).unwrap();
    take.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
    lines.write_all(b"first\nsecond\n").unwrap();
    lines.flush_within_deadline();
    assert_eq!(pieces.recv().unwrap(), b"fi");
    assert_eq!(lines.0.lock().dropped, 2);
    drop(take);
    lines.write_all(b"third\n").unwrap();
    assert_eq!(pieces.recv().unwrap(), b"third\n");
    lines.flush_within_deadline();
    assert_eq!(lines.0.lock().dropped, 0, "told");
}

#[test]
fn a_pipe_that_does_not_wait_is_tried_again() {
    let (take, pieces, mut lines) = reader();
    take.send(Err(ErrorKind::WouldBlock.into())).unwrap();
    take.send(Err(ErrorKind::Interrupted.into())).unwrap();
    drop(take);
    lines.write_all(b"first\n").unwrap();
    assert_eq!(pieces.recv().unwrap(), b"first\n");
}
