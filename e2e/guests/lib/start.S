/*
 * Entry of every test kernel: multiboot 1 header (Multiboot Specification 0.6.96), 32-bit entry, and for 64-bit
 * kernels the way into long mode (SDM Vol. 3A, Initializing IA-32e Mode). Images are flat binaries that name their
 * addresses in the header, because multiboot loaders refuse 64-bit ELF files.
 */
#include "layout.h"
        .section .header, "ax"
        .code32
        .globl  _start, boot_magic, boot_info, boot_cr0, gdt, boot_stack_top
        .balign 4
header:
        .long   0x1badb002
        .long   0x00010003
        .long   -(0x1badb002 + 0x00010003)
        .long   header, header, image_end, bss_end, _start

_start:
        cli
        cld
        movl    $boot_stack_top, %esp
        movl    %eax, boot_magic
        movl    %ebx, boot_info
        movl    %cr0, %eax
        movl    %eax, boot_cr0
        lgdt    gdt_pointer
        ljmp    $KERNEL_CS32, $1f
1:      movl    $KERNEL_DS, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %fs
        movl    %eax, %gs
        movl    %eax, %ss
#ifdef __x86_64__
        /* 1 GiB identity-mapped by 2 MiB pages */
        movl    $boot_pdpt + 7, boot_pml4
        movl    $boot_pd + 7, boot_pdpt
        xorl    %ecx, %ecx
        movl    $0x87, %eax
2:      movl    %eax, boot_pd(, %ecx, 8)
        addl    $0x200000, %eax
        incl    %ecx
        cmpl    $512, %ecx
        jne     2b
        /* the last GiB below 4 GiB holds the interrupt controllers and the test devices */
        movl    $boot_pd_high + 7, boot_pdpt + 24
        xorl    %ecx, %ecx
        movl    $0xc0000087, %eax
3:      movl    %eax, boot_pd_high(, %ecx, 8)
        addl    $0x200000, %eax
        incl    %ecx
        cmpl    $512, %ecx
        jne     3b
        movl    $boot_pml4, %eax
        movl    %eax, %cr3
        movl    $0x20, %eax
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x901, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0
        ljmp    $KERNEL_CS, $start64
        .code64
start64:
        xorl    %ebp, %ebp
        call    runtime_main
#else
        xorl    %ebp, %ebp
        call    runtime_main
#endif
4:      cli
        hlt
        jmp     4b

        .data
        .balign 16
gdt:    .quad   0
        .quad   0x00cf9b000000ffff      /* KERNEL_CS32 */
        .quad   0x00cf93000000ffff      /* KERNEL_DS */
        .quad   0x00affb000000ffff      /* 0x18: spare, long code of ring 3 stands at USER_CS64 */
        .quad   0x00cffb000000ffff      /* USER_CS32 */
        .quad   0x00cff3000000ffff      /* USER_DS */
        .quad   0x00affb000000ffff      /* USER_CS64 */
        .quad   0x00af9b000000ffff      /* KERNEL_CS64 */
        .quad   0                       /* KERNEL_TSS, two slots in long mode */
        .quad   0
        .fill   GDT_FREE_COUNT, 8, 0    /* tests put theirs here */
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt, 0
boot_magic: .long 0
boot_info:  .long 0
boot_cr0:   .long 0

        .bss
        .balign 4096
#ifdef __x86_64__
        .globl  boot_pml4, boot_pdpt, boot_pd
boot_pml4:      .skip 4096
boot_pdpt:      .skip 4096
boot_pd:        .skip 4096
boot_pd_high:   .skip 4096
#endif
        .skip   16384
boot_stack_top:

        .section .note.GNU-stack, "", @progbits
