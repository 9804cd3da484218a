//! The guest: it adds one to a word of each page of its range, says so, and begins again. No paging, so it writes
//! nothing else.

use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

/// What one vCPU is told.
#[derive(Clone, Copy)]
pub struct Range {
    /// Where its code lies.
    pub code: u64,
    pub first_address: u64,
    pub pages: u64,
    pub page_size: u64,
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{Kvm, Range, VcpuExit, VcpuFd, VmFd};

    const DONE_PORT: u8 = 0x10;

    /// 32-bit code, its numbers in it.
    pub fn code(range: &Range) -> Vec<u8> {
        let number = |value: u64| (value as u32).to_le_bytes();
        [
            &[0xbf][..],
            &number(range.first_address), // mov edi, first_address
            &[0xb9],
            &number(range.pages), // mov ecx, pages
            &[0xff, 0x07],        // inc dword [edi]
            &[0x81, 0xc7],
            &number(range.page_size), // add edi, page_size
            &[0x49],                  // dec ecx
            &[0x75, 0xf5],            // jnz to the inc
            &[0xe6, DONE_PORT],       // out DONE_PORT, al
            &[0xeb, 0xe7],            // jmp to the first instruction
        ]
        .concat()
    }

    pub fn prepare_vm(vm: &VmFd) -> Result<(), kvm_ioctls::Error> {
        vm.set_tss_address(0xfffb_d000)
    }

    /// Protected mode, all segments flat.
    pub fn boot(_: &Kvm, _: &VmFd, vcpu: &VcpuFd, range: &Range) -> Result<(), kvm_ioctls::Error> {
        let mut special = vcpu.get_sregs()?;
        for (segment, kind) in [
            (&mut special.cs, 11),
            (&mut special.ds, 3),
            (&mut special.es, 3),
            (&mut special.fs, 3),
            (&mut special.gs, 3),
            (&mut special.ss, 3),
        ] {
            (segment.base, segment.limit, segment.selector, segment.type_) = (0, u32::MAX, 8, kind);
            (segment.present, segment.s, segment.db, segment.g, segment.l) = (1, 1, 1, 1, 0);
        }
        special.cr0 |= 1;
        vcpu.set_sregs(&special)?;
        let mut registers = vcpu.get_regs()?;
        (registers.rip, registers.rflags) = (range.code, 2);
        vcpu.set_regs(&registers)
    }

    pub fn says_done(exit: &VcpuExit) -> bool {
        matches!(exit, VcpuExit::IoOut(port, _) if *port == u16::from(DONE_PORT))
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use kvm_bindings::{KVM_ARM_VCPU_PSCI_0_2, kvm_vcpu_init};

    use super::{Kvm, Range, VcpuExit, VcpuFd, VmFd};

    /// No memory is there.
    const DONE_ADDRESS: u64 = 0x0900_0000;
    /// `KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE`; the registers are numbered in words of 32 bits.
    const CORE: u64 = 0x6030_0000_0010_0000;
    const PC: u64 = CORE + 0x40;

    /// Its numbers are in x1 to x4.
    pub fn code(_: &Range) -> Vec<u8> {
        let code: [u32; 10] = [
            0xaa01_03e5, // mov x5, x1
            0xaa02_03e6, // mov x6, x2
            0xb940_00a7, // ldr w7, [x5]
            0x1100_04e7, // add w7, w7, 1
            0xb900_00a7, // str w7, [x5]
            0x8b03_00a5, // add x5, x5, x3
            0xf100_04c6, // subs x6, x6, 1
            0x54ff_ff61, // b.ne to the ldr
            0x3900_0087, // strb w7, [x4]
            0x17ff_fff7, // b to the first instruction
        ];
        code.iter().flat_map(|instruction| instruction.to_le_bytes()).collect()
    }

    pub fn prepare_vm(_: &VmFd) -> Result<(), kvm_ioctls::Error> {
        Ok(())
    }

    pub fn boot(_: &Kvm, vm: &VmFd, vcpu: &VcpuFd, range: &Range) -> Result<(), kvm_ioctls::Error> {
        let mut target = kvm_vcpu_init::default();
        vm.get_preferred_target(&mut target)?;
        target.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
        vcpu.vcpu_init(&target)?;
        let numbers = [range.first_address, range.pages, range.page_size, DONE_ADDRESS];
        for (register, number) in (1..).zip(numbers) {
            vcpu.set_one_reg(CORE + 2 * register, &number.to_le_bytes())?;
        }
        vcpu.set_one_reg(PC, &range.code.to_le_bytes()).map(drop)
    }

    pub fn says_done(exit: &VcpuExit) -> bool {
        matches!(exit, VcpuExit::MmioWrite(DONE_ADDRESS, _))
    }
}

pub use arch::{boot, code, prepare_vm, says_done};
