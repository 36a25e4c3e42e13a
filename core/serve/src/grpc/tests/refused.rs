//! Clients that open more streams than they may have before they know how many that is: until our SETTINGS
//! are there they may assume no limit (RFC 9113 section 6.5.2).

use std::collections::BTreeSet;

use super::*;
use crate::limits::{CAPACITY_OF_LOCAL_STRANGERS, CAPACITY_OF_USERS, MAX_REFUSED_STREAMS};

const DATA: u8 = 0; // RFC 9113 section 6
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const REFUSED_STREAM: u32 = 7; // RFC 9113 section 7
const ENHANCE_YOUR_CALM: u32 = 11;
const CANCEL: u32 = 8;

/// A client that writes frames.
struct Client {
    connection: DuplexStream,
    _serving: AbortOnDropHandle<()>,
}

impl Client {
    /// One whose first words open so many streams.
    async fn opening(streams: usize, capacity: Capacity) -> Self {
        let (connection, theirs) = duplex(1 << 20);
        let read = Read::new(theirs, capacity);
        let accepted = stream::iter([Ok::<_, io::Error>(read)]).chain(stream::pending());
        let serving = Server::new(messages()).add_service(Hold).serve(accepted);
        let mut client = Self {
            connection,
            _serving: AbortOnDropHandle::new(tokio::spawn(serving)),
        };
        let mut words = [PREFACE, EMPTY_SETTINGS].concat();
        words.extend((0..streams).flat_map(open));
        client.say(&words).await;
        client
    }

    async fn say(&mut self, words: &[u8]) {
        self.connection.write_all(words).await.unwrap();
    }

    /// The next frame: its type, its stream and its payload.
    async fn hear(&mut self) -> (u8, u32, Vec<u8>) {
        let mut head = [0; 9];
        soon(self.connection.read_exact(&mut head)).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        soon(self.connection.read_exact(&mut payload))
            .await
            .unwrap();
        let [_, _, _, kind, _, stream @ ..] = head;
        (kind, u32::from_be_bytes(stream), payload)
    }

    /// Waits for so many answers and refusals of streams, each with its number.
    async fn hears_of(&mut self, streams: usize) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let (mut answered, mut refused) = (BTreeSet::new(), BTreeSet::new());
        while answered.len() + refused.len() < streams {
            let (kind, stream, payload) = self.hear().await;
            let number = (stream.saturating_sub(1) / 2) as usize;
            match kind {
                HEADERS => assert!(answered.insert(number)),
                RST_STREAM => {
                    assert_eq!(payload, REFUSED_STREAM.to_be_bytes());
                    assert!(refused.insert(number));
                }
                GOAWAY => panic!("the connection is ended: {payload:?}"),
                DATA.. => {}
            }
        }
        (answered, refused)
    }
}

fn id(number: usize) -> u32 {
    2 * u32::try_from(number).unwrap() + 1
}

fn open(number: usize) -> Vec<u8> {
    head_of(b"/test.Hold/Watch", id(number))
}

#[tokio::test]
async fn streams_beyond_the_offer_are_refused_one_by_one() {
    const OPENED: usize = 300;
    for capacity in [
        CAPACITY_OF_STRANGERS,
        CAPACITY_OF_USERS,
        CAPACITY_OF_LOCAL_STRANGERS,
    ] {
        let offered = capacity.streams as usize;
        let mut client = Client::opening(OPENED, capacity).await;
        let (answered, refused) = client.hears_of(OPENED).await;
        assert_eq!(answered, (0..offered).collect());
        assert_eq!(refused, (offered..OPENED).collect());
        // A stream that was refused may be opened again once another has ended.
        let mut words = vec![0, 0, 4, RST_STREAM, 0];
        words.extend(id(0).to_be_bytes());
        words.extend(CANCEL.to_be_bytes());
        words.extend(open(OPENED));
        client.say(&words).await;
        let (answered, _) = client.hears_of(1).await;
        assert_eq!(answered, [OPENED].into());
    }
}

/// What an Envoy may open on its first connections it may try on any.
#[tokio::test]
async fn only_so_many_streams_are_refused() {
    let offered = CAPACITY_OF_USERS.streams as usize;
    let bound = offered + MAX_REFUSED_STREAMS;
    assert!(bound >= CAPACITY_OF_ENVOYS.streams as usize);
    let mut client = Client::opening(bound, CAPACITY_OF_USERS).await;
    client.hears_of(bound).await;
    client.say(&open(bound)).await;
    let end = loop {
        let (kind, _, payload) = client.hear().await;
        if kind == GOAWAY {
            break payload;
        }
    };
    assert_eq!(end[4..8], ENHANCE_YOUR_CALM.to_be_bytes());
}
