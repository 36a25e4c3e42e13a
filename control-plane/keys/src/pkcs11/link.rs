//! The open token: its login, its sessions, its condition, and how it comes back.
//!
//! Invariant: a PIN that the token refused is not tried a second time, and none is tried at another
//! token than the first that it opened.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
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
use super::tokens::{Ours, Seen, Wanted};
use crate::{Condition, Pkcs11Settings, StoreState};

/// Most sessions, and so calls under way, beside the one that holds the login.
pub(crate) const MAX_SESSIONS: usize = 8;
/// How long a caller waits for a session.
const SESSION_WAIT: Duration = Duration::from_secs(5);

/// The session that holds the login, and its token.
type Connection = (OpenSession, Token);

/// The token, where it is.
#[derive(Clone, Debug)]
struct Token {
    slot: Slot,
    /// The epoch in which the slot was found.
    epoch: u64,
    serial: String,
}

#[derive(Debug)]
pub(super) struct Link {
    settings: Pkcs11Settings,
    module: Arc<Module>,
    pool: Mutex<Pool>,
    returned: Condvar,
    /// One connects at a time; what it holds is the PIN that was refused last.
    connecting: Mutex<Option<Zeroizing<String>>>,
    /// The serial number of the token that was opened first: our keys are in it, and in no other
    /// that has its label.
    opened: OnceLock<String>,
}

#[derive(Debug)]
struct Pool {
    condition: Condition,
    token: Option<Token>,
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
                token: None,
                keeper: None,
                idle: Vec::new(),
                open: 0,
            }),
            returned: Condvar::new(),
            connecting: Mutex::default(),
            opened: OnceLock::new(),
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
            let token = pool.token.clone().filter(|_| pool.open < MAX_SESSIONS);
            if let Some(token) = token {
                pool.open += 1;
                drop(pool);
                return self.open(&token).inspect_err(|_| self.closed());
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

    fn open(&self, token: &Token) -> Result<OpenSession, Fault> {
        let entered = self.module.enter().ok_or(Fault::Stale)?;
        if entered.epoch() != token.epoch {
            return Err(Fault::Stale);
        }
        OpenSession::open(&self.module, &entered, token.slot)
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

    /// Whether the token of the connection is still in its slot, and we are logged in. For
    /// one caller at a time: the keeper is taken out meanwhile, for a device may let us wait.
    fn is_alive(&self) -> bool {
        let (token, keeper) = {
            let mut pool = self.pool();
            if !pool.condition.is_ready() {
                return false;
            }
            (pool.token.clone(), pool.keeper.take())
        };
        let (Some(token), Some(keeper)) = (token, keeper) else {
            return false;
        };
        // Held as long as anything is asked: nobody restarts the module meanwhile.
        let entered = self.module.enter();
        let entered = entered.filter(|entered| entered.epoch() == token.epoch);
        let is_there = |entered: &Entered<'_>| {
            let seen = Seen::at(entered, token.slot);
            seen.is_ok_and(|seen| seen.is_some_and(|seen| self.wanted().is_met_by(&seen)))
        };
        let is_alive = entered.as_ref().is_some_and(is_there) && keeper.is_logged_in();
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
        let (slot, serial) = self.token(&entered)?;
        let session = OpenSession::open(&self.module, &entered, slot)?;
        match session.login(UserType::User, &AuthPin::new(pin.as_str().into())) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => return Err(error.into()),
        }
        let epoch = entered.epoch();
        Ok((
            session,
            Token {
                slot,
                epoch,
                serial,
            },
        ))
    }

    /// The slot and the serial number of the token with our keys.
    fn token(&self, entered: &Entered<'_>) -> Result<(Slot, String), Fault> {
        let mut ours = Ours::new(self.wanted());
        for slot in entered.library().get_slots_with_token()? {
            ours.look_at(slot, Seen::at(entered, slot));
        }
        ours.only()
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            label: &self.settings.token,
            serial: self.settings.serial.as_deref(),
            opened: self.opened.get().map(String::as_str),
        }
    }

    /// Takes over a connection, or what came instead of one.
    fn settle(&self, outcome: Result<Connection, Fault>) {
        self.disconnect();
        let mut pool = self.pool();
        let before = pool.condition.state;
        match outcome {
            Ok((keeper, token)) => {
                self.opened.get_or_init(|| token.serial.clone());
                pool.keeper = Some(keeper);
                pool.token = Some(token);
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
            pool.token = None;
            pool.open -= pool.idle.len();
            (pool.keeper.take(), std::mem::take(&mut pool.idle))
        };
        drop((keeper, idle));
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
