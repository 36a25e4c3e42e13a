//! A workload: each message is everything that it may have.

use std::collections::BTreeSet;

use countersign_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use countersign_proto::workload::{X509svid, X509svidRequest, X509svidResponse};
use rustls_pki_types::CertificateDer;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{Event, Process, Refusal, reading};

impl Process {
    pub(super) async fn workload(&mut self, channel: Channel) -> Result<(), Refusal> {
        let mut request = Request::new(X509svidRequest {});
        let header = MetadataValue::from_static("true");
        request.metadata_mut().insert("workload.spiffe.io", header);
        let mut client = SpiffeWorkloadApiClient::new(channel);
        let opened = client.fetch_x509svid(request).await;
        let mut messages = opened.map_err(|status| self.refused(status))?.into_inner();
        self.note(Event::Connected);
        loop {
            match messages.message().await {
                Ok(Some(message)) => self.take_message(message),
                Ok(None) => return Ok(()),
                Err(status) => return Err(self.refused(status).into()),
            }
            self.hesitate().await;
        }
    }

    fn take_message(&mut self, message: X509svidResponse) {
        let ids: BTreeSet<_> = { message.svids.iter() }
            .map(|svid| svid.spiffe_id.clone())
            .collect();
        self.lose(|id| !ids.contains(id));
        if let Some(svid) = message.svids.first() {
            let bundle = reading::certificates(&svid.bundle).and_then(reading::bundle);
            self.note(match bundle {
                Ok(bundle) => Event::Trusts(bundle),
                Err(error) => Event::Unusable(format!("bundle: {error:#}")),
            });
        }
        for svid in message.svids {
            let id = svid.spiffe_id.clone();
            self.held.insert(id.clone(), String::new());
            self.note(match credential(&svid) {
                Ok(taken) => Event::Took(id, taken),
                Err(error) => Event::Unusable(format!("{id}: {error:#}")),
            });
        }
    }

    /// Whoever has no identity any more has none.
    fn refused(&mut self, status: Status) -> Status {
        if status.code() == Code::PermissionDenied {
            self.lose(|_| true);
        }
        status
    }

    fn lose(&mut self, is_lost: impl Fn(&str) -> bool) {
        let gone: Vec<_> = self.held.extract_if(.., |id, _| is_lost(id)).collect();
        for (id, _) in gone {
            self.note(Event::Lost(id));
        }
    }
}

fn credential(svid: &X509svid) -> anyhow::Result<super::Taken> {
    let chain: Vec<CertificateDer<'static>> = reading::certificates(&svid.x509_svid)?;
    reading::credential(&svid.spiffe_id, chain, &svid.x509_svid_key)
}
