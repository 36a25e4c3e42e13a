//! A PKCS#11 module, loaded and initialised once in this process.
//!
//! After a token was away, many modules find it again only once they were started anew
//! (C_Finalize, C_Initialize). That must not happen while any thread is inside the module, and it
//! makes every session void: calls hold the context for reading, a restart takes it for writing
//! where it is free, and an epoch tells a void session.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::fault::Fault;

/// A module is loaded once, whoever asks: PKCS#11 has one state a process.
static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());
/// How often a restart looks whether the module is free, before it leaves that to a later try.
const TRIES_TO_ENTER: usize = 10_000;

#[derive(Debug)]
pub(super) struct Module {
    path: PathBuf,
    context: RwLock<Context>,
}

#[derive(Debug, Default)]
struct Context {
    library: Option<Pkcs11>,
    is_initialised: bool,
    epoch: u64,
}

/// The right to call the module: it is not restarted meanwhile.
pub(super) struct Entered<'m>(RwLockReadGuard<'m, Context>);

impl Entered<'_> {
    pub(super) fn library(&self) -> &Pkcs11 {
        self.0.library.as_ref().expect("who entered found it there")
    }

    pub(super) fn epoch(&self) -> u64 {
        self.0.epoch
    }
}

impl Module {
    /// The module at this path; nothing is loaded yet.
    pub(super) fn at(path: &Path) -> Arc<Self> {
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        let module = modules.entry(path.to_owned()).or_insert_with(|| {
            Arc::new(Self {
                path: path.to_owned(),
                context: RwLock::default(),
            })
        });
        module.clone()
    }

    /// Enters the module, where it was started.
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        let context = self.context.read().unwrap_or_else(PoisonError::into_inner);
        (context.library.is_some() && context.is_initialised).then_some(Entered(context))
    }

    /// Loads and initialises the module, where that was not done.
    pub(super) fn start(&self) -> Result<(), Fault> {
        let mut context = self.alone()?;
        if context.library.is_none() {
            context.library = Some(Pkcs11::new(&self.path)?);
        }
        initialise(&mut context)
    }

    /// Ends the module and initialises it anew: every session is void afterwards.
    pub(super) fn restart(&self) -> Result<(), Fault> {
        let mut context = self.alone()?;
        if let Some(library) = &context.library
            && context.is_initialised
        {
            // One that cannot end properly is started anew all the same.
            let _ = library.clone().finalize();
            context.is_initialised = false;
        }
        context.epoch += 1;
        initialise(&mut context)
    }

    /// Waits for a moment without calls: not for ever, for one that never returns would block
    /// those that wait here, and all who want to enter after them.
    fn alone(&self) -> Result<RwLockWriteGuard<'_, Context>, Fault> {
        for _ in 0..TRIES_TO_ENTER {
            if let Ok(context) = self.context.try_write() {
                return Ok(context);
            }
            std::thread::yield_now();
        }
        Err(Fault::Device("the module is busy".to_owned()))
    }
}

fn initialise(context: &mut Context) -> Result<(), Fault> {
    if context.is_initialised {
        return Ok(());
    }
    let Some(library) = &context.library else {
        return Err(Fault::ModuleMissing("it was never loaded".to_owned()));
    };
    let threads = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match library.initialize(threads) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
            context.is_initialised = true;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
