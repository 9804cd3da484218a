//! A vCPU does not stop, because a device of its machine does not return. A caller that waits for this vCPU gets an
//! error that names it. When the device has returned, everything works again.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use dirtyrate::Error;
use dirtyrate_machine::vcpu::{ExitHandler, RunState, Step};
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;

/// A device that does not return until it is let go.
#[derive(Default)]
struct Stubborn {
    inside: AtomicBool,
    free: Mutex<bool>,
    changed: Condvar,
}

impl Stubborn {
    fn let_go(&self) {
        *self.free.lock().expect("no panic") = true;
        self.changed.notify_all();
    }
}

impl ExitHandler for Stubborn {
    fn io_in(&self, _: u16, _: &mut [u8]) -> Step {
        Step::Continue
    }

    fn io_out(&self, _: u16, _: &[u8]) -> Step {
        self.inside.store(true, Ordering::SeqCst);
        let free = self.free.lock().expect("no panic");
        drop(self.changed.wait_while(free, |free| !*free).expect("no panic"));
        Step::Continue
    }

    fn mmio_read(&self, _: u64, _: &mut [u8]) -> Step {
        Step::Continue
    }

    /// Where there are no ports, an idle guest writes here.
    fn mmio_write(&self, _: u64, bytes: &[u8]) -> Step {
        self.io_out(0, bytes)
    }
}

#[test]
fn whoever_waits_for_a_vcpu_that_does_not_stop_gets_an_error_that_names_it() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, 8192)], 1);
    // A guest without a budget says that it is idle, to the device.
    machine.load_workload(&workload(Kind::Stride, 500, 1, Pacing::Granted), None).expect("it loads");
    let device = Arc::new(Stubborn::default());
    let vcpus = machine.vm().vcpus().expect("vCPUs");
    vcpus.start(&(Arc::clone(&device) as Arc<dyn ExitHandler>)).expect("it starts");
    while !device.inside.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    let stuck = |result: Result<(), Error>| {
        assert!(matches!(&result, Err(Error::VcpuStuck { vcpu: 0, .. })), "{result:?}");
    };
    std::thread::scope(|scope| {
        let waits = [
            scope.spawn(|| machine.pause()),
            scope.spawn(|| vcpus.hold(|| panic!("the vCPU is not held"))),
            scope.spawn(|| machine.vm().add_block(&block("more", GIB, 1)).map(drop)),
        ];
        for wait in waits {
            stuck(wait.join().expect("no panic"));
        }
    });
    assert_eq!(machine.state(), RunState::Running, "it is not paused, and does not look so");
    assert_eq!(machine.vm().blocks().len(), 1, "a block that was not added is not there");
    stuck(machine.shutdown());
    device.let_go();
    machine.shutdown().expect("it ends now");
    assert_eq!(machine.state(), RunState::Shutdown);
}
