//! From evidence to a verdict: one file for each way in which a node shows which one it is.
//!
//! An [`Attestor`] is pure and decides in steps, the cheap ones first. What follows from its
//! [`Verdict`] is the same for all and is not repeated by any: bans, one attestation of a node at a
//! time, a holder that is connected, room in the tables, and the commit that begins a lineage.
//!
//! A new way is a file here, a row of [`of_evidence`] and a name ([`Method`]).

pub mod join_token;
pub mod node_svid;

use countersign_model::{Seq, SpiffeId};
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_refusal::Denied;
use jiff::Timestamp;

use crate::nodes::StoredNode;
use crate::{AttestedNode, Method};
use join_token::{JoinToken, Token, TokenHash, Tokens};

/// Judges one piece of evidence. It is made with the evidence and with what it judges by.
pub trait Attestor {
    /// The node that the evidence is for, as far as that is known before anything is verified.
    ///
    /// # Errors
    /// Evidence that can be of no node.
    fn node(&self) -> Result<SpiffeId, Denied>;

    /// Refuses what is known to be good for nothing, at the cost of a hash or two and of no
    /// signature: strangers may send any amount of it. At this point nobody has proved possession
    /// of the key.
    ///
    /// # Errors
    /// Evidence that [`judge`](Self::judge) would refuse as well.
    fn screen(&self, facts: &SessionFacts) -> Result<(), Denied>;

    /// Of evidence that is refused: what its holder may be told, who has shown a secret that we made.
    /// Whoever guesses is told nothing.
    fn told_to_holder(&self, _now: Timestamp) -> Option<ToldToHolder> {
        None
    }

    /// Its name, for operators.
    fn name(&self) -> &'static str;

    /// Of evidence that is refused: the node that it is for, where something proves that, such as a
    /// secret that we made for it. What is only claimed is none.
    fn proven_node(&self) -> Option<SpiffeId> {
        None
    }

    /// The verdict, once possession of the key is proved. Nothing is used up by it.
    ///
    /// # Errors
    /// Evidence that proves nothing.
    fn judge(&self, facts: &SessionFacts) -> Result<Verdict, Denied>;
}

/// What the holder of evidence is told of its end, and of nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldToHolder {
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// What became of it.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
}

/// What an attestor is told of the session that the evidence came on.
#[derive(Clone, Copy, Debug)]
pub struct SessionFacts {
    /// SHA-256 over the SubjectPublicKeyInfo of the node key: of the one to be certified, or of the
    /// one that the handshake has shown.
    pub spki_sha256: [u8; 32],
    /// The TLS exporter. Evidence that is made for one session is made over it.
    pub exporter: [u8; 32],
    /// When it is judged.
    pub now: Timestamp,
}

/// What attestors judge by: facts of the state.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The join tokens that are remembered.
    pub tokens: &'a Tokens,
}

/// The attestor of what a node has sent: one row for each way.
pub fn of_evidence<'a>(evidence: &'a Evidence, known: Known<'a>) -> Box<dyn Attestor + 'a> {
    match evidence {
        Evidence::JoinToken(evidence) => Box::new(JoinToken::new(evidence, known.tokens)),
    }
}

/// What evidence proves. Attestors alone can make what it holds.
#[derive(Debug)]
pub enum Verdict {
    /// The node attests: a new lineage is to begin.
    Attests(Attestation),
    /// The same evidence as before, for the same key: the answer was lost.
    Repeats(Repetition),
    /// The node is recognised by what it was given before: its lineage goes on.
    Recognised(AttestedNode),
}

impl Verdict {
    /// Which node it is on.
    pub fn node(&self) -> &SpiffeId {
        match self {
            Self::Attests(Attestation { node, .. }) | Self::Repeats(Repetition { node, .. }) => {
                node
            }
            Self::Recognised(node) => node.id(),
        }
    }

    /// The node that is recognised.
    ///
    /// # Errors
    /// The evidence attests, which is more: it takes a commit.
    pub fn recognised(self) -> Result<AttestedNode, Denied> {
        match self {
            Self::Recognised(node) => Ok(node),
            Self::Attests(Attestation { node, .. }) | Self::Repeats(Repetition { node, .. }) => {
                Err(Denied {
                    code: "not_recognised",
                    message: format!("{node} is to attest with this evidence"),
                    remedy: "attest it first",
                })
            }
        }
    }
}

/// An attestation that is to be committed.
#[derive(Clone, Debug)]
pub struct Attestation {
    node: SpiffeId,
    method: Method,
    spent: Option<Spent>,
}

impl Attestation {
    /// Which node.
    pub fn node(&self) -> &SpiffeId {
        &self.node
    }

    /// How it attests.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What is to be stored of the node; `before` is what is stored of it so far, and the commit that
    /// wrote that.
    pub fn stored(&self, before: Option<(&StoredNode, Seq)>, now: Timestamp) -> StoredNode {
        StoredNode::attesting(self.method, before, now)
    }

    /// What is used up in the very commit that begins the lineage; `None` for evidence that is
    /// good more than once.
    pub fn spent(&self) -> Option<&Spent> {
        self.spent.as_ref()
    }
}

/// Evidence that is good once, as it stands once it is used.
#[derive(Clone, Debug)]
pub struct Spent {
    hash: TokenHash,
    token: Token,
    unchanged_since: Seq,
    used: Denied,
}

impl Spent {
    /// Under which name it is stored.
    pub fn hash(&self) -> &TokenHash {
        &self.hash
    }

    /// What is stored of it from now on.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The commit that wrote it last, when it was judged: nobody may have used it since.
    pub fn unchanged_since(&self) -> Seq {
        self.unchanged_since
    }

    /// The refusal where somebody has.
    pub fn used(&self) -> &Denied {
        &self.used
    }
}

/// A lineage that evidence began before.
#[derive(Clone, Debug)]
pub struct Repetition {
    node: SpiffeId,
    lineage: Seq,
    until: Timestamp,
    used: Denied,
}

impl Repetition {
    /// Which node.
    pub fn node(&self) -> &SpiffeId {
        &self.node
    }

    /// The commit that began the lineage.
    pub fn lineage(&self) -> Seq {
        self.lineage
    }

    /// Until when the evidence would have been good.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The refusal where the lineage is not the node's any more.
    pub fn used(&self) -> &Denied {
        &self.used
    }
}
