//! What one changed resource costs a stream that subscribes to many: cost follows change.
//!
//! Run: `cargo bench -p countersign-benches --bench discovery`

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use countersign_benches::{Contestant, compare};
use countersign_discovery::{
    DeltaRequest, DeltaResponse, DeltaSession, Limits, Resource, Stamp, Standing, View,
};

const TYPE: &str = "type.googleapis.com/example.Resource";

fn main() {
    let (few, many) = (Stream::new(10), Stream::new(10_000));
    let (few, many) = (RefCell::new(few), RefCell::new(many));
    let scan = RefCell::new(Stream::new(10_000));
    compare(
        "one change of one 2 kB resource, sent and acknowledged",
        vec![
            Contestant::new("touched, stream of 10 names", || {
                few.borrow_mut().change(Stream::touched);
            }),
            Contestant::new("touched, stream of 10 000 names", || {
                many.borrow_mut().change(Stream::touched);
            }),
            Contestant::new("scanned, stream of 10 000 names", || {
                scan.borrow_mut().change(Stream::scanned);
            }),
        ],
    );
}

/// One consumer and a world of one type in which the first resource keeps changing.
struct Stream {
    session: DeltaSession,
    world: World,
}

impl Stream {
    fn new(names: usize) -> Self {
        let names: Vec<Arc<str>> = (0..names).map(|n| format!("name-{n}").into()).collect();
        let mut stream = Self {
            session: DeltaSession::new(Limits::default()),
            world: World {
                names: names.clone(),
                sequence: 1,
                body: Bytes::from(vec![7; 2048]),
            },
        };
        stream.request(&DeltaRequest {
            type_url: TYPE.to_owned(),
            subscribe: names.iter().map(ToString::to_string).collect(),
            ..DeltaRequest::default()
        });
        while let Some(response) = stream.scanned() {
            stream.acknowledge(&response);
        }
        stream
    }

    fn change(&mut self, poll: fn(&mut Self) -> Option<DeltaResponse>) {
        self.world.sequence += 1;
        while let Some(response) = poll(self) {
            self.acknowledge(&response);
        }
    }

    fn touched(&mut self) -> Option<DeltaResponse> {
        self.session.touch(TYPE, "name-0");
        self.session.poll_touched(&self.world)
    }

    fn scanned(&mut self) -> Option<DeltaResponse> {
        self.session.poll(&self.world)
    }

    fn acknowledge(&mut self, response: &DeltaResponse) {
        self.request(&DeltaRequest {
            type_url: TYPE.to_owned(),
            response_nonce: response.nonce.clone(),
            ..DeltaRequest::default()
        });
    }

    fn request(&mut self, request: &DeltaRequest) {
        self.session
            .handle(request, &self.world)
            .expect("the request is well formed");
    }
}

struct World {
    names: Vec<Arc<str>>,
    sequence: u64,
    body: Bytes,
}

impl View for World {
    fn stamp(&self) -> Stamp {
        Stamp {
            epoch: 1,
            sequence: self.sequence,
        }
    }

    fn standing(&self, type_url: &str, name: &str) -> Standing {
        let version = if name == "name-0" { self.sequence } else { 1 };
        let body = self.body.clone();
        Standing::Present(Resource::versioned(
            type_url,
            name,
            &version.to_string(),
            body,
        ))
    }

    fn names(&self, _: &str) -> Vec<Arc<str>> {
        self.names.clone()
    }

    fn serves(&self, type_url: &str) -> bool {
        type_url == TYPE
    }
}
