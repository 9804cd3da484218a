# The guest: one page of code, entered at its first byte.
#
# The first vCPU arrives in 32-bit protected mode without paging (Xen's PVH ABI), builds the page
# tables and sends INIT and SIPI to the others, which arrive in real mode at the trampoline. All
# meet in `.Lenter_long_{copy}`, and part by their APIC id.
#
# There is no stack, no IDT and no interrupt, and descriptors and page tables have their accessed
# and dirty bits set beforehand: once a vCPU has stored its ready flag, it writes to its pages and
# its mailbox, and nothing else is written on its behalf.
#
# The code is assembled somewhere and runs elsewhere: absolute addresses are written as a distance
# from the start plus the image's base. Numbers in braces come from Rust.

    .pushsection .rodata.dirtyrate_guest, "a", @progbits
    .balign {code_bytes}
.Lcode_{copy}:

    .set .Lcode32_{copy}, 0x08
    .set .Ldata_{copy}, 0x10
    .set .Lcode64_{copy}, 0x18

# ---- the first vCPU -----------------------------------------------------------------------------

    .code32
    cli
    cld
    lgdtl (.Lgdt_pointer_{copy} - .Lcode_{copy} + {image_base})

    # Links: pairs of an address and the 64-bit entry to store there.
    movl {header_links}, %esi
    movl {header_link_count}, %ecx
2:  movl (%esi), %edi
    movl 8(%esi), %eax
    movl %eax, (%edi)
    movl 12(%esi), %eax
    movl %eax, 4(%edi)
    addl $16, %esi
    decl %ecx
    jnz 2b

    # Directories: 512 entries each, from a given first one on, 2 MiB apart.
    movl {header_first_entries}, %esi
    movl {header_directories}, %edi
    movl {header_directory_count}, %ebp
3:  movl (%esi), %eax
    movl 4(%esi), %edx
    movl $512, %ecx
4:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $8, %edi
    addl $0x200000, %eax
    decl %ecx
    jnz 4b
    addl $8, %esi
    decl %ebp
    jnz 3b

    # The APIC is reached before there is paging, so it needs no mapping. KVM remembers an INIT and
    # a SIPI for a vCPU that is not running yet, so there is nothing to wait for. A guest for one
    # vCPU does without an APIC.
    cmpl $1, {header_vcpus}
    je .Lenter_long_{copy}
    movl $(.Ltrampoline_{copy} - .Lcode_{copy} + {image_base}), %esi
    movl ${trampoline}, %edi
    movl $(.Ltrampoline_end_{copy} - .Ltrampoline_{copy}), %ecx
    rep movsb
    movl ${init_others}, {interrupt_command}
    movl ${start_others}, {interrupt_command}

# ---- every vCPU, into 64-bit mode ---------------------------------------------------------------

.Lenter_long_{copy}:
    movl $.Ldata_{copy}, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl ${cr4}, %eax
    movl %eax, %cr4
    movl {header_root}, %eax
    movl %eax, %cr3
    movl ${efer}, %ecx
    rdmsr
    orl ${efer_long}, %eax
    wrmsr
    movl ${cr0_long}, %eax
    movl %eax, %cr0
    ljmpl $.Lcode64_{copy}, $(.Llong_{copy} - .Lcode_{copy} + {image_base})

# ---- the other vCPUs, from real mode; copied to the trampoline's page ---------------------------

    .code16
.Ltrampoline_{copy}:
    cli
    movw %cs, %ax
    movw %ax, %ds
    lgdtl (.Lgdt_pointer_{copy} - .Ltrampoline_{copy})
    # INIT leaves the caches disabled in cr0; this enables them.
    movl ${cr0_protected}, %eax
    movl %eax, %cr0
    ljmpl $.Lcode32_{copy}, $(.Lenter_long_{copy} - .Lcode_{copy} + {image_base})
.Lgdt_pointer_{copy}:
    .word .Lgdt_end_{copy} - .Lgdt_{copy} - 1
    .long .Lgdt_{copy} - .Lcode_{copy} + {image_base}
.Ltrampoline_end_{copy}:

    # Flat, ring 0, present, and *accessed*, so that loading one does not write to it.
    .balign 8
.Lgdt_{copy}:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00af9b000000ffff
.Lgdt_end_{copy}:

# ---- every vCPU, at work ------------------------------------------------------------------------
#
# Where KVM emulates the guest, an instruction costs a third of a microsecond whatever it does, so
# the loops are made of as few as possible: the count in the mailbox *is* the value last stored
# (with the vCPU's number in the top byte, which the host takes off), and one comparison finds both
# the end of the budget and the end of a segment, whichever is nearer.
#
# rsi  value of the last write              r8   that value before the first write
# r9   mailbox                              r12  parameters

    .code64
.Llong_{copy}:
    movl $1, %eax
    cpuid
    shrl $24, %ebx
    cmpl %ebx, {header_vcpus}
    jbe .Lhalt_{copy}
    shll $12, %ebx
    leaq {parameters}(%rbx), %r12
    movq {mailbox}(%r12), %r9
    movq {value}(%r12), %rsi
    movq %rsi, %r8
    cmpq $0, {clock_rate}(%r12)
    jne .Lclock_{copy}
.Lready_{copy}:
    movq $1, {mailbox_ready}(%r9)

    movl {header_kind}, %eax
    cmpl ${stride}, %eax
    je .Lstride_{copy}
    cmpl ${silent}, %eax
    je .Lsilent_{copy}
    cmpl ${random}, %eax
    je .Lrandom_{copy}
    cmpl ${hot_cold}, %eax
    je .Lhot_cold_{copy}

.Lhalt_{copy}:
    hlt
    jmp .Lhalt_{copy}

# rax = number of writes allowed and not made, never 0: waits for it. The host may raise the budget
# at any time, so one that was read a while ago allows no write that it does not allow now. Its labels are above 20, because what
# uses it has smaller ones.
#
# By the clock, due is what the rate makes of the ticks since the start. A guest that is behind by
# more than `most` gives up the rest, by counting the writes as made; a clock that was set back by
# more than that starts anew. Changes rcx and r10.
.macro allowance count
22:  cmpq $0, {clock_scale}(%r12)
    jne 24f
    movq {budget}(%r12), %rax
    movq (%rax), %rax
    movq \count, %rcx
    subq %r8, %rcx
    subq %rcx, %rax
    ja 23f
    outb %al, ${idle_port}
    pause
    jmp 22b
24:  movq %rdx, %r10
25:  rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    subq {clock_origin}(%r12), %rax
    mulq {clock_scale}(%r12)
    movq %rdx, %rax
    movq \count, %rcx
    subq %r8, %rcx
    subq %rcx, %rax
    movq {clock_most}(%r12), %rcx
    cmpq %rcx, %rax
    jg 26f
    testq %rax, %rax
    jg 28f
    negq %rcx
    cmpq %rcx, %rax
    jge 27f
    xorl %ecx, %ecx
26:  subq %rcx, %rax
    subq %rax, %r8
    movq %rcx, %rax
    testq %rax, %rax
    jne 28f
27:  pause
    cmpq $0, {clock_rest}(%r12)
    je 25b
    outb %al, ${idle_port}
    jmp 25b
28:  movq %r10, %rdx
23:
.endm

# Walks through the segments; 6 instructions for a write.
.macro walk count
4:  xorl %ebx, %ebx
5:  movq {segment_a}(%r12,%rbx,8), %rdi
    movq {segment_b}(%r12,%rbx,8), %rdx
6:  allowance \count
    movq %rdx, %rcx
    subq %rdi, %rcx
    shrq $12, %rcx
    cmpq %rax, %rcx
    cmovaq %rax, %rcx
    addq \count, %rcx
7:  incq \count
    movq %rsi, (%rdi)
    movq \count, {mailbox_writes}(%r9)
    addq $4096, %rdi
    cmpq %rcx, \count
    jne 7b
    cmpq %rdx, %rdi
    jne 6b
    incq %rbx
    cmpq {segments}(%r12), %rbx
    jb 5b
    jmp 4b
.endm

.Lstride_{copy}:
    walk %rsi

    # The value stays, so the count is kept apart from it.
.Lsilent_{copy}:
    xorl %r8d, %r8d
    xorl %r14d, %r14d
    walk %r14

# The next random word, in rax: SplitMix64.
.macro draw
    addq %rbx, %r11
    movq %r11, %rax
    shrq $30, %rax
    xorq %r11, %rax
    imulq %r15, %rax
    movq %rax, %rcx
    shrq $27, %rcx
    xorq %rcx, %rax
    imulq %rbp, %rax
    movq %rax, %rcx
    shrq $31, %rcx
    xorq %rcx, %rax
.endm

# All pages alike. Page number in rdx.
.macro choose_any
    mulq %r14
.endm

.macro choose_hot_or_cold
    cmpl ${hot_below}, %eax
    jae 4f
    mulq %r14
    jmp 5f
4:  mulq {cold_pages}(%r12)
    addq {cold_first}(%r12), %rdx
5:
.endm

# Writes to drawn pages; 22 instructions for a write, with one segment. With several, finds the
# last one that begins at or before the page.
.macro scatter choose
    movq {segments}(%r12), %r13
    movq {pages}(%r12), %r14
    movq {seed}(%r12), %r11
    movabsq ${gamma}, %rbx
    movabsq ${multiplier_1}, %r15
    movabsq ${multiplier_2}, %rbp
6:  allowance %rsi
    leaq (%rsi,%rax), %r10
7:  draw
    \choose
    cmpq $1, %r13
    jne 9f
    shlq $12, %rdx
    addq {segment_b}(%r12), %rdx
8:  incq %rsi
    movq %rsi, (%rdx)
    movq %rsi, {mailbox_writes}(%r9)
    cmpq %r10, %rsi
    jne 7b
    jmp 6b
9:  xorl %edi, %edi
    movq %r13, %rcx
2:  movq %rcx, %rax
    shrq %rax
    addq %rax, %rdi
    cmpq %rdx, {segment_a}(%r12,%rdi,8)
    jbe 3f
    subq %rax, %rdi
3:  subq %rax, %rcx
    cmpq $1, %rcx
    ja 2b
    shlq $12, %rdx
    addq {segment_b}(%r12,%rdi,8), %rdx
    jmp 8b
.endm

.Lrandom_{copy}:
    scatter choose_any
.Lhot_cold_{copy}:
    scatter choose_hot_or_cold

# ---- a guest that is paced by its own clock: before it is ready -----------------------------------
#
# rbx is the number of this vCPU in units of 4096. The first one finds the frequency of the TSC where
# the image does not say it, and stores it for the others.

.Lclock_{copy}:
    movq {header_ticks}, %rdi
    testq %rdi, %rdi
    jne .Lscale_{copy}
    testl %ebx, %ebx
    je .Lfind_ticks_{copy}
    pause
    jmp .Lclock_{copy}

    # KVM's clock says how it turns ticks into nanoseconds (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW): 32 bytes
    # that KVM writes before the vCPU runs on. They lie in the mailbox's page, which is written anyway.
.Lfind_ticks_{copy}:
    movl $0x40000000, %eax
    cpuid
    cmpl ${kvm_signature_1}, %ebx
    jne .Lfind_by_timer_{copy}
    cmpl ${kvm_signature_2}, %ecx
    jne .Lfind_by_timer_{copy}
    movl $0x40000001, %eax
    cpuid
    testl ${kvm_clock}, %eax
    je .Lfind_by_timer_{copy}
    leaq {mailbox_clock}(%r9), %r13
    movq %r13, %rdx
    shrq $32, %rdx
    leal 1(%r13d), %eax
    movl ${kvm_clock_msr}, %ecx
    wrmsr
    movl 24(%r13), %edi
    movsbl 28(%r13), %ebp
    movl (%r13), %r14d
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    # An odd version is a write under way; 0 and no factor are no write at all.
    testl $1, %r14d
    jne .Lfind_by_timer_{copy}
    testl %edi, %edi
    je .Lfind_by_timer_{copy}
    movabsq ${nanoseconds}, %rax
    xorl %edx, %edx
    divq %rdi
    movl %ebp, %ecx
    testl %ecx, %ecx
    js 2f
    shrq %cl, %rax
    jmp .Lfound_ticks_{copy}
2:  negl %ecx
    shlq %cl, %rax
    jmp .Lfound_ticks_{copy}

# Reads the timer's second channel again and again, and keeps the reading that took least: one that
# was interrupted took longer. r10 = ticks that it took, r11 = TSC before it, ebp = the timer's count.
.macro read_timer
    movl ${timer_readings}, %edi
    movq $-1, %r10
2:  rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, %rbx
    movb $0x80, %al
    outb %al, $0x43
    inb $0x42, %al
    movzbl %al, %ecx
    inb $0x42, %al
    movzbl %al, %eax
    shll $8, %eax
    orl %eax, %ecx
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    subq %rbx, %rax
    cmpq %r10, %rax
    jae 3f
    movq %rax, %r10
    movq %rbx, %r11
    movl %ecx, %ebp
3:  decl %edi
    jne 2b
.endm

    # The PC's timer (Intel 8254) counts down at {timer_hertz} Hz in mode 0. Its output goes up when it comes to 0, so that a run
    # in which it went round, or a machine without one, is noticed.
.Lfind_by_timer_{copy}:
    movl ${timer_runs}, %r13d
4:  decl %r13d
    js .Lhalt_{copy}
    inb $0x61, %al
    andb $0xfc, %al
    orb $1, %al
    outb %al, $0x61
    movb $0xb0, %al
    outb %al, $0x43
    movb $0xff, %al
    outb %al, $0x42
    outb %al, $0x42
    read_timer
    movq %r10, %r14
    movq %r11, %r15
    movl %ebp, %esp
5:  inb $0x61, %al
    testb $0x20, %al
    jne 4b
    read_timer
    movl %esp, %ecx
    subl %ebp, %ecx
    cmpl ${timer_run}, %ecx
    jl 5b
    inb $0x61, %al
    testb $0x20, %al
    jne 4b
    # The two readings took so long that the frequency is known to within a 128th.
    subq %r15, %r11
    addq %r14, %r10
    shlq $7, %r10
    cmpq %r11, %r10
    ja 4b
    movl ${timer_hertz}, %eax
    mulq %r11
    divq %rcx

.Lfound_ticks_{copy}:
    # The first vCPU has no number to look for.
    testq %rax, %rax
    je .Lhalt_{copy}
    movq %rax, {header_ticks}
    movq %rax, %rdi

    # scale = rate / ticks, in units of 2^-64 writes in a tick: the rate is in units of 2^-32 writes in a second. A rate of more
    # than a write in each tick is just that.
.Lscale_{copy}:
    xorl %edx, %edx
    movq $-1, %rax
    divq %rdi
    mulq {clock_rate}(%r12)
    shrq $32, %rax
    movq %rdx, %rcx
    shlq $32, %rcx
    orq %rcx, %rax
    shrq $32, %rdx
    je 2f
    movq $-1, %rax
2:  movq %rax, {clock_scale}(%r12)
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, {clock_origin}(%r12)
    jmp .Lready_{copy}

    # Fails to assemble if the code is longer than this.
    .org .Lcode_{copy} + {code_bytes}, 0xf4
    .purgem allowance
    .purgem read_timer
    .purgem walk
    .purgem draw
    .purgem choose_any
    .purgem choose_hot_or_cold
    .purgem scatter
    .popsection
