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

# rax = number of writes granted and not made, never 0: waits for it. The host may raise the budget
# at any time, so one that was read a while ago allows no write that it does not allow now.
.macro allowance count
2:  movq {budget}(%r12), %rax
    movq (%rax), %rax
    movq \count, %rcx
    subq %r8, %rcx
    subq %rcx, %rax
    ja 3f
    outb %al, ${idle_port}
    pause
    jmp 2b
3:
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

    # Fails to assemble if the code is longer than this.
    .org .Lcode_{copy} + {code_bytes}, 0xf4
    .purgem allowance
    .purgem walk
    .purgem draw
    .purgem choose_any
    .purgem choose_hot_or_cold
    .purgem scatter
    .popsection
