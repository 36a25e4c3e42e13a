//! Registrations as a stream of pages: some are read at a time, no faster than the operator reads.

use std::pin::Pin;
use std::sync::Arc;

use countersign_authority::Judged;
use countersign_proto::admin as wire;
use countersign_proto::convert::time::read_duration;
use countersign_registry::{Filter, Place};
use futures_util::stream::{self, Stream, StreamExt as _};
use jiff::SignedDuration;
use tonic::Status;

use super::refusing::{invalid, spiffe_id};
use super::registration;
use crate::plane::Plane;

/// Most registrations in one message: a few hundred kilobytes, where each has what most have.
const A_MESSAGE: usize = 256;

/// The messages of one list.
pub(crate) type Registrations =
    Pin<Box<dyn Stream<Item = Result<wire::ListResponse, Status>> + Send>>;

/// Those that pass the filter, by ID.
pub(super) fn list(plane: &Arc<Plane>, asked: wire::ListRequest) -> Result<Registrations, Status> {
    let (filter, now) = (filter(asked)?, plane.clock.now());
    let plane = plane.clone();
    let page = move |after: Option<Option<Place>>| {
        let (plane, filter) = (plane.clone(), filter.clone());
        async move {
            // Others of this thread have their turn between two looks.
            tokio::task::yield_now().await;
            let after = after?;
            let read = plane.authority.judged_page(&filter, after.as_ref(), now);
            let (page, last) = read;
            Some((messages(&page), last.map(Some)))
        }
    };
    let pages = stream::unfold(Some(None), page).flat_map(stream::iter);
    Ok(Box::pin(pages.map(Ok)))
}

fn messages(page: &[Judged]) -> Vec<wire::ListResponse> {
    let written = |(it, refusal): &Judged| registration::judged(it, refusal.as_ref());
    let messages = page.chunks(A_MESSAGE).map(|some| wire::ListResponse {
        items: some.iter().map(written).collect(),
    });
    messages.collect()
}

fn filter(asked: wire::ListRequest) -> Result<Filter, Status> {
    let id = |field, text: &str| match text {
        "" => Ok(None),
        text => spiffe_id(field, text).map(Some),
    };
    let ends_within = asked.ends_within.map(|it| {
        let read = read_duration("ends_within", Some(it));
        let read = read.map_err(|error| invalid("invalid_ends_within", error.to_string()))?;
        SignedDuration::try_from(read)
            .map_err(|error| invalid("invalid_ends_within", error.to_string()))
    });
    Ok(Filter {
        id: id("id", &asked.id)?,
        node: id("node", &asked.node)?,
        owner: asked.owner,
        labels: asked.labels.into_iter().collect(),
        ends_within: ends_within.transpose()?,
    })
}
