/**
 * The abstract emitter that semantic functions are written against. The interpreter generator implements it with
 * operands read from a decoded-instruction record; the JIT with operands as constants and registers as Wasm locals;
 * the evaluator of the tests with plain values. A semantic function must not know which one it talks to.
 *
 * Order rule (precise exceptions): everything that can fault comes before the first write to a register, flag or
 * memory. The emitter keeps program order of the calls below.
 *
 * Values: i8 and i16 travel as i32 with the upper bits zero; every operation keeps that invariant.
 */
import type { KernelName } from '#abi/kernel-imports.types.ts'

export type Ty = 'i8' | 'i16' | 'i32' | 'i64' | 'f32' | 'f64' | 'v128'
export type IntTy = 'i8' | 'i16' | 'i32' | 'i64'

/** A value of the instruction being emitted. Opaque to semantic functions. */
export interface Val {
  readonly ty: Ty
}

/** Condition codes in encoding order (SDM Vol. 1, Appendix B). */
export type Cond =
  | 'o'
  | 'no'
  | 'b'
  | 'ae'
  | 'e'
  | 'ne'
  | 'be'
  | 'a'
  | 's'
  | 'ns'
  | 'p'
  | 'np'
  | 'l'
  | 'ge'
  | 'le'
  | 'g'
export type ArithFlag = 'cf' | 'pf' | 'af' | 'zf' | 'sf' | 'of'
export type Reg64 = 'rax' | 'rcx' | 'rdx' | 'rbx' | 'rsp' | 'rbp' | 'rsi' | 'rdi' | 'r11'
export type Vector =
  | 'DE'
  | 'DB'
  | 'BP'
  | 'OF'
  | 'BR'
  | 'UD'
  | 'NM'
  | 'TS'
  | 'NP'
  | 'SS'
  | 'GP'
  | 'PF'
  | 'MF'
  | 'AC'
  | 'XM'

/** Kinds of flag results whose six flags follow from a formula (isa/flags.ts). All values have the operand width. */
export type FlagsOf =
  | { readonly kind: 'add'; readonly a: Val; readonly b: Val; readonly result: Val } // also ADC: carries follow from a, b, result
  | { readonly kind: 'sub'; readonly a: Val; readonly b: Val; readonly result: Val } // also SBB, CMP, NEG (a = 0)
  | { readonly kind: 'logic'; readonly result: Val } // CF = OF = AF = 0
  | { readonly kind: 'inc'; readonly result: Val } // CF kept
  | { readonly kind: 'dec'; readonly result: Val } // CF kept
  /** Comparison of two f32 or f64: ZF PF CF = 000 greater, 001 less, 100 equal, 111 unordered; OF = SF = AF = 0. */
  | { readonly kind: 'order'; readonly a: Val; readonly b: Val }
  | { readonly kind: 'explicit'; readonly result: Val; readonly cf: Val; readonly of: Val; readonly af?: Val } // ZF SF PF from result; cf/of/af are 0/1

export interface Emit {
  /** Operand size of this instance in bits; 0 for rows without one. */
  readonly width: 8 | 16 | 32 | 64 | 0
  /** Integer type of the operand size. */
  readonly ty: IntTy
  /** Lock prefix possible in this instance (rows with lock: true and a memory destination). */
  readonly mem: boolean

  const(ty: Ty, value: number | bigint): Val

  // --- operands of the row, by index ---
  /**
   * Value of operand i at its own width (register, memory or immediate; immediates extended as the row says).
   * A vector register operand is always the whole register, whatever its memory form holds: xmm_m32 in its
   * register form reads and writes v128, mm_m64 i64 (the significand of the aliased x87 register; the semantic
   * function sets the exponent). sti reads as the i32 0..7 of the encoding, not as a value.
   */
  read(i: number): Val
  write(i: number, value: Val): void
  /**
   * Bits 255:128 of the vector register that operand i names (xmm and ymm places; only where isMemory(i) is false), v128.
   * read(i) and write(i) are its bits 127:0 and leave these alone, as SSE instructions do; every VEX instruction writes
   * them, zero or not. addressOf(i) is the address of all 32 bytes, the upper half at +16.
   */
  readHigh(i: number): Val
  writeHigh(i: number, value: Val): void
  /**
   * Atomic under LOCK: computes the new value from the old with pure operations only, possibly more than once.
   * The store always happens (CMPXCHG stores the old value back), as on hardware. The displacement (i64, bytes; memory
   * forms only) is added to the effective address before truncation to the address size: bit strings of BTS.
   */
  modify(
    i: number,
    compute: (old: Val) => Val,
    displacement?: Val,
  ): { readonly old: Val; readonly value: Val }
  isMemory(i: number): boolean
  /** Effective address (offset in its segment) of the memory operand, i64, truncated to the address size. */
  offset(): Val
  /** Parts of a vsib operand (gathers). Such an operand has no offset() and no linear(). */
  vsib(): Vsib
  /** Linear address of the memory operand + displacement bytes, checked for an access of `bytes` bytes, i64. */
  linear(bytes: number, write: boolean, displacement?: Val | number): Val
  /** The seg byte of the memory operand, i32, for kernel functions that take a gva and a seg. */
  seg(): Val
  /** Loads and stores at a linear address from linear(). Not atomic. */
  load(ty: Ty, gva: Val): Val
  store(gva: Val, value: Val): void
  /** Address in the CPU struct of a vector/x87/MMX register operand, or of a scratch slot holding a copy of the memory operand: i32. */
  addressOf(i: number): Val
  /** Address of one of the 16-byte scratch slots (0..CPU_SCRATCH_SLOTS-1): i32. */
  scratch(slot: number): Val
  /** Repeat prefix of a string row, i32: 0 none, 1 REP/REPE, 2 REPNE. */
  rep(): Val
  /** Address size in bytes, i32: 2, 4 or 8. */
  addressBytes(): Val
  /** Raw access to the CPU struct (named fields of abi/layout.ts), for state that is no operand. */
  getCpu(ty: Ty, offset: number): Val
  setCpu(offset: number, value: Val): void
  /** Raw access to an address from addressOf or scratch. */
  loadAt(ty: Ty, address: Val, offset?: number): Val
  storeAt(address: Val, value: Val, offset?: number): void

  // --- fixed registers ---
  reg(name: Reg64, ty?: IntTy): Val
  /** i32 writes zero the upper half, i8/i16 keep it. 'ah' style access: regHigh. */
  setReg(name: Reg64, value: Val): void
  regHigh(name: 'rax' | 'rcx' | 'rdx' | 'rbx'): Val
  setRegHigh(name: 'rax' | 'rcx' | 'rdx' | 'rbx', value: Val): void

  // --- pure integer operations; both operands of one type, result of that type; comparisons give i32 0/1 ---
  add(a: Val, b: Val): Val
  sub(a: Val, b: Val): Val
  mul(a: Val, b: Val): Val
  and(a: Val, b: Val): Val
  or(a: Val, b: Val): Val
  xor(a: Val, b: Val): Val
  not(a: Val): Val
  neg(a: Val): Val
  /** Shift counts are i32 and must be below the width (masked by the caller). */
  shl(a: Val, count: Val): Val
  shr(a: Val, count: Val): Val
  sar(a: Val, count: Val): Val
  rotl(a: Val, count: Val): Val
  rotr(a: Val, count: Val): Val
  clz(a: Val): Val
  ctz(a: Val): Val
  popcnt(a: Val): Val
  divU(a: Val, b: Val): Val
  divS(a: Val, b: Val): Val
  remU(a: Val, b: Val): Val
  remS(a: Val, b: Val): Val
  eq(a: Val, b: Val): Val
  ne(a: Val, b: Val): Val
  ltU(a: Val, b: Val): Val
  ltS(a: Val, b: Val): Val
  leU(a: Val, b: Val): Val
  leS(a: Val, b: Val): Val
  isZero(a: Val): Val
  /** Most significant bit as i32 0/1. */
  msb(a: Val): Val
  select(condition: Val, a: Val, b: Val): Val
  /** Conversions to the value's own type are the identity. */
  zext(a: Val, ty: IntTy): Val
  sext(a: Val, ty: IntTy): Val
  trunc(a: Val, ty: IntTy): Val
  bswap(a: Val): Val
  /** Any plain WebAssembly operator by its text name, for float and SIMD rows: op('f64x2.add', 'v128', a, b); lanes as immediates. */
  op(name: string, ty: Ty, args: readonly Val[], immediates?: readonly number[]): Val
  /** The value of an integer that is a constant where this engine emits, e.g. an immediate in the JIT. */
  known(a: Val): bigint | undefined
  /** Forces evaluation here (mutable state read later by several uses is always evaluated at the read). */
  let(a: Val): Val

  // --- flags ---
  setFlags(of: FlagsOf): void
  /** Sets single flags (each 0/1 i32) and keeps the others. */
  setFlagBits(bits: { readonly [F in ArithFlag]?: Val }): void
  flag(name: ArithFlag): Val
  cond(cc: Cond): Val

  // --- control ---
  if_(condition: Val, then: () => void, otherwise?: () => void): void
  /**
   * Runs `rare` unless every value of `all` and one of `any` is nonzero (i32). They are looked at in order and no further
   * than needed, so the cheap and telling ones come first; `rare` may be laid out far away.
   */
  unless(all: readonly Val[], any: readonly Val[], rare: () => void): void
  /** Bounded or data-dependent loop: body returns the condition to go on. Mutable values through cells. */
  loop(body: () => Val): void
  cell(initial: Val): Cell
  raise(vector: Vector, error?: number | Val): void
  raiseIf(condition: Val, vector: Vector, error?: number | Val): void
  /** RIP of this instruction, in RIP space, i64. */
  rip(): Val
  /** RIP of the next instruction, in RIP space, i64 (truncated to the operand size in legacy modes by callers). */
  nextRip(): Val
  /**
   * Near branch to the row's rel operand. With a condition: taken if nonzero, else fall through.
   * `commit` runs after the target was checked (canonical form or CS limit) and before the transfer: what CALL and RET
   * change only when the branch itself does not fault. It may fault itself (a push).
   */
  branchRel(condition?: Val, commit?: () => void): void
  /** Near indirect branch to a RIP value (i64, already truncated to the operand size); checks and commit as branchRel. */
  branchTo(rip: Val, commit?: () => void): void
  /** Pushes / pops with the stack of the mode; the value has the width to push. RSP is committed after the access succeeded. */
  push(value: Val): void
  pop(ty: IntTy): Val
  /** Top of the stack without moving RSP: for rows that can fault after reading it. Followed by adjustStack. */
  peek(ty: IntTy): Val
  /** RSP += bytes (i64 or number) within the stack-pointer width; accesses nothing. */
  adjustStack(bytes: Val | number): void
  /** Calls a kernel function; faults and transfers are handled as its table entry says. */
  call(name: KernelName | FpName, args: readonly Val[]): Val | undefined
  /** Full memory barrier (MFENCE). */
  fence(): void
  /** Requires CPL 0 (else #GP(0)). */
  privileged(): void
}

export interface Vsib {
  /** Base register + displacement, i64, not truncated. */
  readonly base: Val
  /** Both halves of the index register, v128; of an XMM register only the low one counts. */
  readonly index: readonly [low: Val, high: Val]
  /** i32: the same for the same register, comparable with addressOf() of another operand. */
  readonly indexRegister: Val
  /** Shift count of the index, i32. */
  readonly scale: Val
}

export interface Cell {
  get(): Val
  set(value: Val): void
}

/** Exports of kernel/fp; their signatures are in src/abi/fp-imports.types.ts. */
export type FpName = string

/** Meaning of an instruction: one function per row id, used by every engine. */
export type Semantics = (e: Emit) => void
