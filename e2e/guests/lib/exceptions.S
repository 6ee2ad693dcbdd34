/*
 * Gates 0-63, call_guarded() and enter_user(): an exception inside call_guarded(f) is recorded and ends it, whatever
 * the privilege level, mode or stack it came from.
 */
#include "layout.h"

        .text
        .globl  vector_stubs, call_guarded, enter_user, common_exception
#ifdef __x86_64__
#define WORD .quad
        .code64
#else
#define WORD .long
        .code32
#endif

        .altmacro
        .macro  stub vector
stub_\vector:
        .if (\vector == 8) || (\vector >= 10 && \vector <= 14) || (\vector == 17) || (\vector == 21)
        .else
        push    $0
        .endif
        push    $\vector
        jmp     common_exception
        .endm
        .set    i, 0
        .rept   64
        stub    %i
        .set    i, i + 1
        .endr

        .section .rodata
        .balign 8
        .macro  entry vector
        WORD    stub_\vector
        .endm
vector_stubs:
        .set    i, 0
        .rept   64
        entry   %i
        .set    i, i + 1
        .endr
        .text

#ifdef __x86_64__
common_exception:
        push    %rax
        push    %rcx
        push    %rdx
        push    %rbx
        push    %rbp
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        cld
        mov     %rsp, %rdi
        mov     %rsp, %rbx
        and     $-16, %rsp
        call    on_exception
        mov     %rbx, %rsp
        test    %eax, %eax
        jnz     abandon
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rbp
        pop     %rbx
        pop     %rdx
        pop     %rcx
        pop     %rax
        add     $16, %rsp
        iretq

call_guarded:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        pushfq
        mov     %rsp, guard_stack
        mov     %rsp, %rbp
        and     $-16, %rsp
        call    *%rdi
        mov     %rbp, %rsp
        jmp     guarded_end
abandon:
        mov     $KERNEL_DS, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     guard_stack, %rsp
guarded_end:
        movq    $0, guard_stack
        popfq
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        cld
        ret

/* enter_user(code, stack, selector of code, flags) */
enter_user:
        pushq   $USER_DS
        push    %rsi
        push    %rcx
        push    %rdx
        push    %rdi
        mov     $USER_DS, %eax
        mov     %eax, %ds
        mov     %eax, %es
        iretq
#else
common_exception:
        pushl   %eax
        pushl   %ecx
        pushl   %edx
        pushl   %ebx
        pushl   %ebp
        pushl   %esi
        pushl   %edi
        pushl   %ds
        pushl   %es
        movl    $KERNEL_DS, %eax
        movl    %eax, %ds
        movl    %eax, %es
        cld
        movl    %esp, %ebx
        pushl   %esp
        call    on_exception
        movl    %ebx, %esp
        testl   %eax, %eax
        jnz     abandon
        popl    %es
        popl    %ds
        popl    %edi
        popl    %esi
        popl    %ebp
        popl    %ebx
        popl    %edx
        popl    %ecx
        popl    %eax
        addl    $8, %esp
        iretl

call_guarded:
        movl    4(%esp), %eax
        pushl   %ebx
        pushl   %ebp
        pushl   %esi
        pushl   %edi
        pushfl
        movl    %esp, guard_stack
        movl    %esp, %ebp
        call    *%eax
        jmp     guarded_end
abandon:
        movl    $KERNEL_DS, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %fs
        movl    %eax, %gs
        movl    %eax, %ss
guarded_end:
        movl    guard_stack, %esp
        movl    $0, guard_stack
        popfl
        popl    %edi
        popl    %esi
        popl    %ebp
        popl    %ebx
        cld
        ret

/* enter_user(code, stack, selector of code, flags) */
enter_user:
        movl    4(%esp), %eax
        movl    8(%esp), %ecx
        movl    12(%esp), %edx
        movl    16(%esp), %ebx
        pushl   $USER_DS
        pushl   %ecx
        pushl   %ebx
        pushl   %edx
        pushl   %eax
        movl    $USER_DS, %eax
        movl    %eax, %ds
        movl    %eax, %es
        iretl
#endif
        .section .note.GNU-stack, "", @progbits
