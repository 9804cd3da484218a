//! The device tree of an arm64 machine: any blocks of RAM, vCPUs, command line and initrd, with a kernel that is good.

#![no_main]

use dirtyrate_fuzz::Input;
use dirtyrate_fuzz::boot::{image, with_load};
use dirtyrate_machine::boot::fuzzing::check_arm64;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_load(&image(), &mut Input::new(bytes), check_arm64));
