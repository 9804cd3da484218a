//! The codes and details of errors, which are part of the JavaScript API.

#[path = "../src/error_codes.rs"]
mod error_codes;

use std::io;

use dirtyrate::Error;
use dirtyrate_machine::MachineError;
use error_codes::{Detail, Details, code, details};

#[test]
fn a_refused_call_is_named_with_its_errno() {
    let source = io::Error::from_raw_os_error(24);
    let error = Error::Ioctl { call: "KVM_CREATE_VCPU", context: "vCPU 44".to_owned(), source };
    let expected: Details =
        vec![("call", "KVM_CREATE_VCPU".into()), ("errno", 24_i64.into()), ("context", "vCPU 44".into())];
    assert_eq!(details(&error), expected);
}

#[test]
fn a_refused_call_on_a_process_is_named_with_the_file() {
    let refused = |call, context: &str| {
        let source = io::Error::from_raw_os_error(13);
        details(&Error::ProcessPermission { pid: 7, call, context: context.to_owned(), source })
    };
    let [pid, errno] = [("pid", Detail::from(7_u64)), ("errno", 13_i64.into())];
    let expected = vec![pid.clone(), ("call", "read".into()), errno.clone(), ("context", "/proc/7/maps".into())];
    assert_eq!(refused("read", "/proc/7/maps"), expected);
    assert_eq!(refused("process_vm_readv", ""), vec![pid, ("call", "process_vm_readv".into()), errno]);
}

#[test]
fn a_block_without_memory_is_named_with_its_size() {
    let error = Error::Memory { block: "ram".to_owned(), bytes: 4096, source: io::Error::from_raw_os_error(12) };
    let expected: Details = vec![("block", "ram".into()), ("bytes", 4096_u64.into()), ("errno", 12_i64.into())];
    assert_eq!(details(&error), expected);
}

#[test]
fn a_crash_has_its_vcpu_and_the_place() {
    let error = MachineError::GuestCrashed { vcpu: 1, reason: String::new(), instruction_pointer: Some(0x10) }.into();
    assert_eq!(details(&error), vec![("vcpu", 1_u64.into()), ("instructionPointer", "0x10".into())]);
}

#[test]
fn an_error_without_facts_has_no_details() {
    assert_eq!(details(&MachineError::Closed.into()), Vec::new());
}

/// Each errno that means a limit, with the code and the name that it must get.
#[test]
fn a_refused_call_names_its_limit() {
    let cases = [
        ("KVM_CREATE_VCPU", libc::EMFILE, "ERR_LIMIT", Some("open-files")),
        ("open", libc::ENFILE, "ERR_LIMIT", Some("system-open-files")),
        ("KVM_RUN", libc::EAGAIN, "ERR_LIMIT", Some("tasks")),
        ("pthread_create", libc::EAGAIN, "ERR_LIMIT", Some("tasks")),
        ("timer_create", libc::EAGAIN, "ERR_LIMIT", Some("pending-signals")),
        ("pthread_kill", libc::EAGAIN, "ERR_LIMIT", Some("pending-signals")),
        ("mmap", libc::EAGAIN, "ERR_LIMIT", Some("locked-memory")),
        ("mmap", libc::ENOMEM, "ERR_MEMORY", Some("memory")),
        ("KVM_CREATE_VM", libc::EPERM, "ERR_LIMIT", Some("policy")),
        ("KVM_CREATE_VM", libc::EBUSY, "ERR_KVM_BUSY", None),
        ("KVM_SET_CPUID2", libc::EBUSY, "ERR_KVM_IOCTL", None),
        ("KVM_GET_DIRTY_LOG", libc::EAGAIN, "ERR_KVM_IOCTL", None),
        ("KVM_GET_DIRTY_LOG", libc::EFAULT, "ERR_KVM_IOCTL", None),
    ];
    for (call, errno, expected, limit) in cases {
        let error = Error::refused(call, "vCPU 3", io::Error::from_raw_os_error(errno));
        assert_eq!(code(&error), expected, "{call} {errno}: {error}");
        let facts = details(&error);
        let of = |name| facts.iter().find(|(of, _)| *of == name).map(|(_, detail)| detail.clone());
        assert_eq!(of("limit"), limit.map(Detail::from), "{error}");
        assert_eq!(of("call"), Some(Detail::from(call)));
        assert_eq!(of("errno"), Some(Detail::from(i64::from(errno))));
        assert!(error.to_string().starts_with(call), "{error}");
    }
}

/// What a Rust caller can tell apart, JavaScript gets as one of the two codes that it had before.
#[test]
fn errors_that_only_rust_distinguishes_are_err_argument_or_err_state() {
    let client = || "accumulator:1".to_owned();
    let unknown = Error::UnknownBlock { block: "rom".to_owned(), known: vec!["low".to_owned(), "high".to_owned()] };
    assert_eq!(unknown.to_string(), "no RAM block 'rom': there is low, high");
    let arguments = [unknown, Error::NotOpen { client: client() }, Error::Argument(String::new())];
    let states = [
        Error::NoSlot { block: 1 },
        Error::NotTracking { client: client() },
        Error::OtherLog { there: "dirty ring", asked: "dirty bitmap" },
        Error::LogInUse { log: "dirty ring" },
        Error::NotAttached { vcpu: 1, attached: 1 },
        Error::State(String::new()),
    ];
    assert!(arguments.iter().all(|error| code(error) == "ERR_ARGUMENT" && details(error).is_empty()));
    assert!(states.iter().all(|error| code(error) == "ERR_STATE" && details(error).is_empty()));
}
