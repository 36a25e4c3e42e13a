//! What is asked of a token within a session: make a key pair, sign, destroy.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_ca::der;
use countersign_issue::key::key_id;
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::fault::Fault;
use super::module::{Entered, Module};

/// OBJECT IDENTIFIER prime256v1, DER (RFC 5480 section 2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// Bytes of r ‖ s on P-256.
const RAW_SIGNATURE_BYTES: usize = 64;
/// Label of a key pair that has no key id yet.
const UNNAMED: &str = "countersign, being made";
/// Most handles that a session remembers.
const MAX_HANDLES: usize = 64;

/// A session of one epoch of the module.
#[derive(Debug)]
pub(super) struct OpenSession {
    session: Option<Session>,
    slot: Slot,
    epoch: u64,
    module: Arc<Module>,
    handles: HashMap<String, ObjectHandle>,
}

impl OpenSession {
    pub(super) fn open(
        module: &Arc<Module>,
        entered: &Entered<'_>,
        slot: Slot,
    ) -> Result<Self, Fault> {
        Ok(Self {
            session: Some(entered.library().open_rw_session(slot)?),
            slot,
            epoch: entered.epoch(),
            module: module.clone(),
            handles: HashMap::new(),
        })
    }

    pub(super) fn is_of(&self, entered: &Entered<'_>) -> bool {
        self.epoch == entered.epoch()
    }

    pub(super) fn login(&self, user: UserType, pin: &AuthPin) -> Result<(), Error> {
        self.session().login(user, Some(pin))
    }

    /// Whether the user is logged in: for then all sessions are.
    pub(super) fn is_logged_in(&self) -> bool {
        let info = self.session().get_session_info();
        info.is_ok_and(|info| info.session_state() == SessionState::RwUser)
    }

    pub(super) fn session(&self) -> &Session {
        self.session.as_ref().expect("it is taken by drop alone")
    }

    fn private_key(&mut self, key_id: &str) -> Result<ObjectHandle, Fault> {
        if let Some(handle) = self.handles.get(key_id) {
            return Ok(*handle);
        }
        let class = Attribute::Class(ObjectClass::PRIVATE_KEY);
        let found = self.session().find_objects(&[class, named(key_id)?])?;
        let Some(handle) = found.first() else {
            return Err(self.nothing_found());
        };
        if self.handles.len() >= MAX_HANDLES {
            self.handles.clear();
        }
        self.handles.insert(key_id.to_owned(), *handle);
        Ok(*handle)
    }

    /// A token that was taken away may answer that it holds nothing: it is asked who it is.
    fn nothing_found(&self) -> Fault {
        let token = self.module.enter();
        let token = token.map(|entered| entered.library().get_token_info(self.slot));
        match token {
            Some(Ok(_)) => Fault::KeyGone,
            Some(Err(error)) => Fault::TokenAbsent(error.to_string()),
            None => Fault::Stale,
        }
    }
}

impl Drop for OpenSession {
    /// A session of an older epoch is void, and its number may be another's by now: it is not
    /// closed.
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        // Held until the session is closed: a restart in between frees what the module closes.
        let entered = self.module.enter();
        match &entered {
            Some(entered) if self.is_of(entered) => drop(session),
            _ => std::mem::forget(session),
        }
    }
}

/// Makes a key pair that the token keeps and never gives out, and names it by its key id. Gives
/// its SubjectPublicKeyInfo.
pub(super) fn generate(open: &mut OpenSession) -> Result<Vec<u8>, Fault> {
    let session = open.session();
    let label = || Attribute::Label(UNNAMED.as_bytes().to_vec());
    let public = [
        Attribute::Token(true),
        Attribute::KeyType(KeyType::EC),
        Attribute::EcParams(P256.to_vec()),
        Attribute::Verify(true),
        label(),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::KeyType(KeyType::EC),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        label(),
    ];
    let (public, private) =
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
    let named = name(session, public, private);
    if named.is_err() {
        // What has no name would never be found again. That it cannot be removed is the lesser
        // error.
        let _ = session.destroy_object(private);
        let _ = session.destroy_object(public);
    }
    named
}

fn name(session: &Session, public: ObjectHandle, private: ObjectHandle) -> Result<Vec<u8>, Fault> {
    stays_inside(session, private)?;
    let spki = public_key(session, public)?;
    let key_id = key_id(&spki);
    let label = Attribute::Label(format!("countersign {key_id}").into_bytes());
    let names = [named(&key_id)?, label];
    session.update_attributes(public, &names)?;
    session.update_attributes(private, &names)?;
    Ok(spki)
}

/// A token may ignore what a template asks for.
fn stays_inside(session: &Session, private: ObjectHandle) -> Result<(), Fault> {
    let wanted = [Attribute::Sensitive(true), Attribute::Extractable(false)];
    let asked = [AttributeType::Sensitive, AttributeType::Extractable];
    let told = session.get_attributes(private, &asked)?;
    if wanted.iter().all(|attribute| told.contains(attribute)) {
        Ok(())
    } else {
        Err(Fault::Device(
            "the token made a key that can be taken out".to_owned(),
        ))
    }
}

fn public_key(session: &Session, public: ObjectHandle) -> Result<Vec<u8>, Fault> {
    let told = session.get_attributes(public, &[AttributeType::EcPoint])?;
    let point = told.into_iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(point) => Some(point),
        _ => None,
    });
    let spki = point.and_then(|point| der::p256_public_key(&point));
    spki.ok_or_else(|| Fault::Device("the token gives no point of P-256".to_owned()))
}

/// Signs a SHA-256 digest: r ‖ s.
pub(super) fn sign(
    open: &mut OpenSession,
    key_id: &str,
    digest: &[u8],
) -> Result<[u8; RAW_SIGNATURE_BYTES], Fault> {
    let key = open.private_key(key_id)?;
    let signature = open.session().sign(&Mechanism::Ecdsa, key, digest)?;
    signature
        .try_into()
        .map_err(|_| Fault::Device("the token's signature has not 64 bytes".to_owned()))
}

/// Whether the token has a key now, whoever made it.
pub(super) fn holds(open: &mut OpenSession, key_id: &str) -> Result<bool, Fault> {
    open.handles.remove(key_id);
    match open.private_key(key_id) {
        Ok(_) => Ok(true),
        Err(Fault::KeyGone) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Destroys both halves of a key pair.
pub(super) fn destroy(open: &mut OpenSession, key_id: &str) -> Result<(), Fault> {
    open.handles.remove(key_id);
    let session = open.session();
    for object in session.find_objects(&[named(key_id)?])? {
        session.destroy_object(object)?;
    }
    Ok(())
}

/// A key pair is found by its key id.
fn named(key_id: &str) -> Result<Attribute, Fault> {
    let bytes = hex::decode(key_id);
    bytes
        .map(Attribute::Id)
        .map_err(|_| Fault::Device("a key id is not hexadecimal".to_owned()))
}
