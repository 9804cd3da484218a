//! The machine behind a JavaScript object. When a worker ends, this also ends the worker's virtual machines. The
//! garbage collector does not do that everywhere, because Deno runs no finalizer when a worker ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dirtyrate_machine::Machine;
use dirtyrate_machine::MachineError;
use napi::Env;

/// Holds a machine from its creation until it is closed.
#[derive(Default)]
pub struct Holder(Mutex<Held>);

#[derive(Default)]
enum Held {
    #[default]
    NotYet,
    Machine(Arc<Machine>),
    Ended,
}

impl Holder {
    /// The machine; `None` before it is made and after it is closed.
    pub fn machine(&self) -> Option<Arc<Machine>> {
        match &*lock(&self.0) {
            Held::Machine(machine) => Some(Arc::clone(machine)),
            Held::NotYet | Held::Ended => None,
        }
    }

    /// Puts a machine in that was just made.
    ///
    /// # Errors
    ///
    /// [`MachineError::Closed`] if the environment that asked for the machine has ended meanwhile.
    pub fn put(&self, machine: Machine) -> dirtyrate::Result<()> {
        let mut held = lock(&self.0);
        if matches!(*held, Held::Ended) {
            return Err(MachineError::Closed.into());
        }
        *held = Held::Machine(Arc::new(machine));
        Ok(())
    }

    /// Takes the machine out for good.
    pub fn end(&self) -> Option<Arc<Machine>> {
        match std::mem::replace(&mut *lock(&self.0), Held::Ended) {
            Held::Machine(machine) => Some(machine),
            Held::NotYet | Held::Ended => None,
        }
    }
}

/// The holders of each environment: Node's main thread and each worker is one.
static HOLDERS: Mutex<Option<HashMap<usize, Vec<Weak<Holder>>>>> = Mutex::new(None);

/// Makes a holder whose machine is ended when `env` ends.
///
/// # Errors
///
/// The error of N-API if the environment is ending.
pub fn holder(env: &Env) -> napi::Result<Arc<Holder>> {
    let holder = Arc::new(Holder::default());
    let key = env.raw() as usize;
    let mut environments = lock(&HOLDERS);
    let environments = environments.get_or_insert_default();
    if !environments.contains_key(&key) {
        env.add_env_cleanup_hook(key, end_all)?;
    }
    let holders = environments.entry(key).or_default();
    holders.retain(|holder| holder.strong_count() > 0);
    holders.push(Arc::downgrade(&holder));
    Ok(holder)
}

/// Ends the machines of an environment.
fn end_all(environment: usize) {
    let holders = lock(&HOLDERS).as_mut().and_then(|environments| environments.remove(&environment));
    for machine in holders.into_iter().flatten().filter_map(|holder| holder.upgrade()?.end()) {
        // The threads of calls that still use the machine see this and end. If a vCPU does not stop, there is no caller
        // left that could get the error.
        let _ = machine.shutdown();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
