// The guest: one page of code, entered at its first byte, which runs wherever it is loaded.
//
// The first vCPU arrives in EL1 with the MMU off (Linux, Documentation/arch/arm64/booting.rst), builds the page tables and turns
// the others on by PSCI. All meet in `.Lenter_{copy}`, and part by their number.
//
// There is no stack and no interrupt: once a vCPU has stored its ready flag, it writes to its pages and its mailbox, and nothing
// else is written on its behalf. Numbers in braces come from Rust.

    .pushsection .rodata.dirtyrate_guest, "a", %progbits
    .balign {code_bytes}
.Lcode_{copy}:

// ---- the first vCPU -----------------------------------------------------------------------------

    msr daifset, #15
    adr x19, .Lcode_{copy}

    // Links: pairs of an address and the 64-bit entry to store there.
    ldr x0, [x19, #{header_links}]
    ldr x1, [x19, #{header_link_count}]
2:  ldp x2, x3, [x0], #16
    str x3, [x2]
    subs x1, x1, #1
    b.ne 2b

    // Directories: 512 entries each, from a given first one on, 2 MiB apart.
    ldr x0, [x19, #{header_first_entries}]
    ldr x1, [x19, #{header_directories}]
    ldr x2, [x19, #{header_directory_count}]
    mov x6, #0x200000
3:  ldr x3, [x0], #8
    mov x4, #512
4:  str x3, [x1], #8
    add x3, x3, x6
    subs x4, x4, #1
    b.ne 4b
    subs x2, x2, #1
    b.ne 3b

    // With the MMU off these stores went around the caches, which the walks go through: nothing older may be left there.
    ldr x0, [x19, #{header_root}]
    mrs x2, ctr_el0
    ubfx x2, x2, #16, #4
    mov x3, #4
    lsl x3, x3, x2
5:  dc ivac, x0
    add x0, x0, x3
    cmp x0, x1
    b.lo 5b
    dsb sy

    // The context of each, which it finds in x0, is its number.
    ldr x20, [x19, #{header_vcpus}]
    mov x21, #1
6:  cmp x21, x20
    b.hs 7f
    ldr w0, .Lpsci_cpu_on_{copy}
    and x1, x21, #15
    lsr x2, x21, #4
    orr x1, x1, x2, lsl #8
    adr x2, .Lenter_{copy}
    mov x3, x21
    hvc #0
    add x21, x21, #1
    b 6b
7:  mov x0, #0

// ---- every vCPU, with the MMU on ----------------------------------------------------------------

.Lenter_{copy}:
    mov x28, x0
    adr x19, .Lcode_{copy}
    adr x0, .Lvectors_{copy}
    msr vbar_el1, x0
    mov x0, #{memory_attributes}
    msr mair_el1, x0
    // Physical addresses are as long as this CPU's, or 48 bits.
    ldr x0, .Ltranslation_{copy}
    mrs x1, id_aa64mmfr0_el1
    and x1, x1, #15
    mov x2, #5
    cmp x1, x2
    csel x1, x1, x2, lo
    orr x0, x0, x1, lsl #32
    msr tcr_el1, x0
    ldr x0, [x19, #{header_root}]
    msr ttbr0_el1, x0
    isb
    tlbi vmalle1
    ic iallu
    dsb nsh
    isb
    mrs x0, sctlr_el1
    mov x1, #{sctlr_on}
    orr x0, x0, x1
    msr sctlr_el1, x0
    isb

// ---- every vCPU, at work ------------------------------------------------------------------------
//
// What the host concludes rests on the order of stores: page, count, next page. Each is a store-release, and those are seen in
// their order.
//
// x1   value of the last write              x8   that value before the first write
// x9   mailbox                              x10  budget
// x11  where to say that there is nothing to do, or 0
// x16  page size                            x18  its logarithm
// x19  the image                            x20  parameters

    ldr x0, [x19, #{header_vcpus}]
    cmp x28, x0
    b.hs .Lhalt_{copy}
    add x20, x19, #{parameters}
    add x20, x20, x28, lsl #{parameters_shift}
    ldr x9, [x20, #{mailbox}]
    ldr x10, [x20, #{budget}]
    ldr x11, [x19, #{header_idle}]
    ldr x16, [x19, #{header_page_size}]
    ldr x18, [x19, #{header_page_shift}]
    ldr x1, [x20, #{value}]
    mov x8, x1

    // Paced by its clock: scale = rate / ticks, in units of 2^-64 writes in a tick; the rate is in units of 2^-32 writes in a second.
    // A rate of more than a write in each tick is just that. A counter that has no frequency paces nothing: such a guest halts.
    ldr x0, [x20, #{clock_rate}]
    cbz x0, 3f
    mrs x2, cntfrq_el0
    ubfx x2, x2, #0, #32
    cbz x2, .Lhalt_{copy}
    mov x3, #-1
    udiv x3, x3, x2
    umulh x4, x3, x0
    mul x5, x3, x0
    extr x6, x4, x5, #32
    lsr x4, x4, #32
    cmp x4, #0
    csinv x6, x6, xzr, eq
    str x6, [x20, #{clock_scale}]
    mrs x2, cntvct_el0
    str x2, [x20, #{clock_origin}]

3:  mov x2, #1
    add x3, x9, #{mailbox_ready}
    stlr x2, [x3]

    ldr x2, [x19, #{header_kind}]
    cmp x2, #{stride}
    b.eq .Lstride_{copy}
    cmp x2, #{silent}
    b.eq .Lsilent_{copy}
    cmp x2, #{random}
    b.eq .Lrandom_{copy}
    cmp x2, #{hot_cold}
    b.eq .Lhot_cold_{copy}

.Lhalt_{copy}:
    wfi
    b .Lhalt_{copy}

// x0 = number of writes allowed and not made, never 0: waits for it. The host may raise the budget
// at any time, so one that was read a while ago allows no write that it does not allow now. Its labels
// are above 20, because what uses it has smaller ones.
//
// By the clock, due is what the rate makes of the ticks since the start. A guest that is behind by more
// than `most` gives up the rest, by counting the writes as made; a clock that was set back by more than
// that starts anew. Changes x2, x4 and x7.
.macro allowance count
22: ldr x4, [x20, #{clock_scale}]
    cbnz x4, 25f
    ldar x0, [x10]
    sub x2, \count, x8
    subs x0, x0, x2
    b.hi 23f
    cbz x11, 24f
    strb wzr, [x11]
24: yield
    b 22b
25: mrs x0, cntvct_el0
    ldr x2, [x20, #{clock_origin}]
    sub x0, x0, x2
    umulh x0, x0, x4
    sub x2, \count, x8
    sub x0, x0, x2
    ldr x7, [x20, #{clock_most}]
    cmp x0, x7
    b.gt 26f
    cmp x0, #0
    b.gt 23f
    cmn x0, x7
    b.ge 27f
    mov x7, #0
26: sub x0, x0, x7
    sub x8, x8, x0
    mov x0, x7
    cbnz x0, 23f
27: yield
    ldr x2, [x20, #{clock_rest}]
    cbz x2, 25b
    cbz x11, 25b
    strb wzr, [x11]
    b 25b
23:
.endm

// Walks through the segments; 6 instructions for a write.
.macro walk count
5:  mov x3, #0
6:  add x4, x20, x3, lsl #3
    ldr x5, [x4, #{segment_a}]
    ldr x6, [x4, #{segment_b}]
7:  allowance \count
    sub x7, x6, x5
    lsr x7, x7, x18
    cmp x7, x0
    csel x7, x0, x7, hi
    add x7, x7, \count
8:  add \count, \count, #1
    stlr x1, [x5]
    stlr \count, [x9]
    add x5, x5, x16
    cmp \count, x7
    b.ne 8b
    cmp x5, x6
    b.ne 7b
    add x3, x3, #1
    ldr x4, [x20, #{segments}]
    cmp x3, x4
    b.lo 6b
    b 5b
.endm

.Lstride_{copy}:
    walk x1

    // The value stays, so the count is kept apart from it.
.Lsilent_{copy}:
    mov x8, #0
    mov x14, #0
    walk x14

// The next random word, in x0: SplitMix64.
.macro draw
    add x15, x15, x17
    eor x0, x15, x15, lsr #30
    mul x0, x0, x21
    eor x0, x0, x0, lsr #27
    mul x0, x0, x22
    eor x0, x0, x0, lsr #31
.endm

// All pages alike. Page number in x2.
.macro choose_any
    umulh x2, x0, x14
.endm

.macro choose_hot_or_cold
    cmp w0, w23
    b.hs 4f
    umulh x2, x0, x14
    b 5f
4:  umulh x2, x0, x24
    add x2, x2, x25
5:
.endm

// Writes to drawn pages. With several segments, finds the last one that begins at or before the page.
.macro scatter choose
    ldr x13, [x20, #{segments}]
    ldr x14, [x20, #{pages}]
    ldr x15, [x20, #{seed}]
    ldr x24, [x20, #{cold_pages}]
    ldr x25, [x20, #{cold_first}]
    ldr x26, [x20, #{segment_b}]
    ldr x17, .Lgamma_{copy}
    ldr x21, .Lmultiplier_1_{copy}
    ldr x22, .Lmultiplier_2_{copy}
    ldr w23, .Lhot_below_{copy}
6:  allowance x1
    add x12, x1, x0
7:  draw
    \choose
    mov x6, x26
    cmp x13, #1
    b.ne 9f
8:  lsl x2, x2, x18
    add x2, x6, x2
    add x1, x1, #1
    stlr x1, [x2]
    stlr x1, [x9]
    cmp x1, x12
    b.ne 7b
    b 6b
9:  mov x3, #0
    mov x4, x13
2:  lsr x5, x4, #1
    add x3, x3, x5
    add x6, x20, x3, lsl #3
    ldr x7, [x6, #{segment_a}]
    cmp x7, x2
    b.ls 3f
    sub x3, x3, x5
3:  sub x4, x4, x5
    cmp x4, #1
    b.hi 2b
    add x6, x20, x3, lsl #3
    ldr x6, [x6, #{segment_b}]
    b 8b
.endm

.Lrandom_{copy}:
    scatter choose_any
.Lhot_cold_{copy}:
    scatter choose_hot_or_cold

    .balign 8
.Lgamma_{copy}:
    .quad {gamma}
.Lmultiplier_1_{copy}:
    .quad {multiplier_1}
.Lmultiplier_2_{copy}:
    .quad {multiplier_2}
.Ltranslation_{copy}:
    .quad {translation}
.Lpsci_cpu_on_{copy}:
    .word {psci_cpu_on}
.Lhot_below_{copy}:
    .word {hot_below}

// ---- exceptions ---------------------------------------------------------------------------------
//
// The write that says that there is nothing to do may be answered with an external abort (QEMU without KVM does so): goes on
// behind it. There is no other exception but by a mistake.

    // Fails to assemble if the code is longer than this: vectors lie at a multiple of 2 KiB.
    .org .Lcode_{copy} + 0x800, 0
.Lvectors_{copy}:
    // Synchronous, from EL1 with its own stack pointer.
    .org .Lcode_{copy} + 0x800 + 0x200, 0
    mrs x27, esr_el1
    lsr x27, x27, #26
    cmp x27, #0x25
    b.ne .Lhalt_{copy}
    mrs x27, elr_el1
    add x27, x27, #4
    msr elr_el1, x27
    eret

    .org .Lcode_{copy} + {code_bytes}, 0
    .purgem allowance
    .purgem walk
    .purgem draw
    .purgem choose_any
    .purgem choose_hot_or_cold
    .purgem scatter
    .popsection
