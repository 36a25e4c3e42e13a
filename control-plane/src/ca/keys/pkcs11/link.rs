//! The open token: its login, its sessions, its condition, and how it comes back.
//!
//! Invariant: a PIN that the token refused is not tried a second time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::error::{Error, RvError};
use cryptoki::session::UserType;
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::module::{Entered, Module};
use super::objects::OpenSession;
use super::pin;
use crate::ca::keys::{Condition, Pkcs11Settings, StoreState};

/// Most sessions, and so calls under way, beside the one that holds the login.
pub(in crate::ca::keys) const MAX_SESSIONS: usize = 8;
/// How long a caller waits for a session.
const SESSION_WAIT: Duration = Duration::from_secs(5);

/// The session that holds the login, and the slot in the epoch in which it was found.
type Connection = (OpenSession, (Slot, u64));

#[derive(Debug)]
pub(super) struct Link {
    settings: Pkcs11Settings,
    module: Arc<Module>,
    pool: Mutex<Pool>,
    returned: Condvar,
    /// One connects at a time; what it holds is the PIN that was refused last.
    connecting: Mutex<Option<Zeroizing<String>>>,
}

#[derive(Debug)]
struct Pool {
    condition: Condition,
    /// The slot, in the epoch in which it was found.
    slot: Option<(Slot, u64)>,
    /// Holds the login: PKCS#11 ends it with the last session.
    keeper: Option<OpenSession>,
    idle: Vec<OpenSession>,
    /// Idle or lent.
    open: usize,
}

impl Link {
    pub(super) fn new(settings: Pkcs11Settings) -> Self {
        let module = Module::at(&settings.module);
        Self {
            settings,
            module,
            pool: Mutex::new(Pool {
                condition: Condition::new(StoreState::Failed, "not opened yet"),
                slot: None,
                keeper: None,
                idle: Vec::new(),
                open: 0,
            }),
            returned: Condvar::new(),
            connecting: Mutex::default(),
        }
    }

    pub(super) fn condition(&self) -> Condition {
        self.pool().condition.clone()
    }

    /// Looks whether the token is there, and opens it where it is not open.
    pub(super) fn probe(&self) {
        let refused = self.connecting.lock();
        let mut refused = refused.unwrap_or_else(PoisonError::into_inner);
        if !self.is_alive() {
            let pin = pin::read(&self.settings.pin_file);
            let outcome = pin.and_then(|pin| self.connect(&pin, &mut refused));
            self.settle(outcome);
        }
    }

    /// Asks in a session; where the connection was at fault, once more in a new one.
    pub(super) fn ask<T>(
        &self,
        question: impl Fn(&mut OpenSession) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        match self.in_session(&question) {
            Err(fault) if fault.may_pass() => {
                self.probe();
                self.in_session(&question)
            }
            outcome => outcome,
        }
    }

    /// Asks what must not be asked twice: again only where nothing was asked at all.
    pub(super) fn ask_once<T>(
        &self,
        question: impl Fn(&mut OpenSession) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        match self.in_session(&question) {
            Err(Fault::Stale) => {
                self.probe();
                self.in_session(&question)
            }
            outcome => outcome,
        }
    }

    fn in_session<T>(
        &self,
        question: impl Fn(&mut OpenSession) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut session = self.take()?;
        let outcome = {
            let entered = self.module.enter();
            match entered.filter(|entered| session.is_of(entered)) {
                Some(_entered) => question(&mut session),
                None => Err(Fault::Stale),
            }
        };
        let is_good = matches!(outcome, Ok(_) | Err(Fault::KeyGone));
        self.give_back(session, is_good);
        outcome
    }

    fn take(&self) -> Result<OpenSession, Fault> {
        let deadline = Instant::now() + SESSION_WAIT;
        let mut pool = self.pool();
        loop {
            if !pool.condition.is_ready() {
                return Err(Fault::NotReady(pool.condition.clone()));
            }
            if let Some(session) = pool.idle.pop() {
                return Ok(session);
            }
            if let Some(slot) = pool.slot
                && pool.open < MAX_SESSIONS
            {
                pool.open += 1;
                drop(pool);
                return self.open(slot).inspect_err(|_| self.closed());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let busy = Condition::new(StoreState::Failed, "every session is busy");
                return Err(Fault::NotReady(busy));
            }
            let waited = self.returned.wait_timeout(pool, left);
            pool = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn open(&self, (slot, epoch): (Slot, u64)) -> Result<OpenSession, Fault> {
        let entered = self.module.enter().ok_or(Fault::Stale)?;
        if entered.epoch() != epoch {
            return Err(Fault::Stale);
        }
        OpenSession::open(&self.module, &entered, slot)
    }

    fn give_back(&self, session: OpenSession, is_good: bool) {
        let mut pool = self.pool();
        if is_good && pool.condition.is_ready() {
            pool.idle.push(session);
            drop(pool);
            self.returned.notify_one();
        } else {
            drop(pool);
            drop(session);
            self.closed();
        }
    }

    fn closed(&self) {
        self.pool().open -= 1;
        self.returned.notify_one();
    }

    /// Whether the token of the connection still answers to its label, and we are logged in. For
    /// one caller at a time: the keeper is taken out meanwhile, for a device may let us wait.
    fn is_alive(&self) -> bool {
        let (slot, keeper) = {
            let mut pool = self.pool();
            if !pool.condition.is_ready() {
                return false;
            }
            (pool.slot, pool.keeper.take())
        };
        let (Some((slot, epoch)), Some(keeper)) = (slot, keeper) else {
            return false;
        };
        let entered = self.module.enter();
        let entered = entered.filter(|entered| entered.epoch() == epoch);
        let is_alive =
            entered.is_some_and(|entered| self.is_ours(&entered, slot) && keeper.is_logged_in());
        if is_alive {
            self.pool().keeper = Some(keeper);
        }
        is_alive
    }

    /// Opens the token. Where it is not found, the module is started anew and asked again.
    fn connect(
        &self,
        pin: &Zeroizing<String>,
        refused: &mut Option<Zeroizing<String>>,
    ) -> Result<Connection, Fault> {
        if refused.as_ref() == Some(pin) {
            return Err(Fault::WrongPin(
                "the token refused it, and the PIN file is unchanged".to_owned(),
            ));
        }
        let outcome = match self.connected(pin) {
            Err(Fault::TokenAbsent(_) | Fault::Device(_)) => {
                self.disconnect();
                let restarted = self.module.restart();
                restarted.and_then(|()| self.connected(pin))
            }
            outcome => outcome,
        };
        let was_refused = matches!(outcome, Err(Fault::WrongPin(_)));
        *refused = was_refused.then(|| pin.clone());
        outcome
    }

    fn connected(&self, pin: &Zeroizing<String>) -> Result<Connection, Fault> {
        if self.module.enter().is_none() {
            self.module.start()?;
        }
        let entered = self.module.enter().ok_or(Fault::Stale)?;
        let slot = self.slot(&entered)?;
        let session = OpenSession::open(&self.module, &entered, slot)?;
        match session.login(UserType::User, &AuthPin::new(pin.as_str().into())) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((session, (slot, entered.epoch())))
    }

    fn slot(&self, entered: &Entered<'_>) -> Result<Slot, Fault> {
        let slots = entered.library().get_slots_with_token()?;
        let mut ours = Vec::new();
        for slot in slots {
            ours.extend(self.serial_of_ours(entered, slot).map(|it| (slot, it)));
        }
        let Pkcs11Settings { token, serial, .. } = &self.settings;
        match ours.as_slice() {
            [(slot, _)] => Ok(*slot),
            [] => Err(Fault::TokenAbsent(match serial {
                Some(serial) => format!("no token {token:?} with the serial number {serial:?}"),
                None => format!("no token {token:?}"),
            })),
            // Which of them is the first changes from start to start: none is taken at a guess.
            several => {
                let serials: Vec<_> = several.iter().map(|(_, it)| it.as_str()).collect();
                let serials = serials.join(", ");
                Err(Fault::TokenAmbiguous(format!(
                    "several tokens {token:?}, with the serial numbers {serials}: set \
                     ca.pkcs11.serial to that of the token with our keys"
                )))
            }
        }
    }

    fn is_ours(&self, entered: &Entered<'_>, slot: Slot) -> bool {
        self.serial_of_ours(entered, slot).is_some()
    }

    /// The serial number of the token in a slot, where it is one that we look for.
    fn serial_of_ours(&self, entered: &Entered<'_>, slot: Slot) -> Option<String> {
        let token = entered.library().get_token_info(slot).ok()?;
        let Pkcs11Settings {
            token: label,
            serial: wanted,
            ..
        } = &self.settings;
        let serial = token.serial_number().trim_end();
        let is_ours = token.token_initialized()
            && token.label().trim_end() == label
            && wanted.as_deref().is_none_or(|wanted| wanted == serial);
        is_ours.then(|| serial.to_owned())
    }

    /// Takes over a connection, or what came instead of one.
    fn settle(&self, outcome: Result<Connection, Fault>) {
        self.disconnect();
        let mut pool = self.pool();
        let before = pool.condition.state;
        match outcome {
            Ok((keeper, slot)) => {
                pool.keeper = Some(keeper);
                pool.slot = Some(slot);
                pool.condition = Condition::ready();
            }
            Err(fault) => pool.condition = fault.into(),
        }
        let Condition { state, reason } = pool.condition.clone();
        drop(pool);
        self.returned.notify_all();
        if state == before {
            return;
        }
        let (store, state) = ("pkcs11", state.as_str());
        if state == StoreState::Ready.as_str() {
            tracing::info!(store, state, "key store changed its state");
        } else {
            tracing::warn!(store, state, reason, "key store changed its state");
        }
    }

    /// Lets go of every session that is not lent.
    fn disconnect(&self) {
        let (keeper, idle) = {
            let mut pool = self.pool();
            pool.slot = None;
            pool.open -= pool.idle.len();
            (pool.keeper.take(), std::mem::take(&mut pool.idle))
        };
        drop((keeper, idle));
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
