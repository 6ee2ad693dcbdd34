/**
 * The emitter of the JIT: it records the instructions of a region's blocks one after the other. The record's fields are
 * constants, registers are locals (registers.ts), flags are what they would be computed from (flag-state.ts), branches
 * end the block.
 */
import { CC_ADD, CC_CANONICAL, CC_NONE } from '../../abi/jit.ts'
import {
  CPU_AMASK,
  CPU_CC_KIND,
  CPU_CPL,
  CPU_FAULT,
  CPU_FL_AUX,
  CPU_FL_RES,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_PCBASE,
  CPU_RBP,
  CPU_RIP,
  CPU_SEG,
  CPU_SEG_STRIDE,
  CPU_SMASK,
  CPU_ZERO,
  MODE_CPL3,
  MODE_CS64,
  MODE_CS_MASK,
  MODE_SS32,
  SEG_ATTR,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SS,
} from '../../abi/layout.ts'
import {
  RECSEG_ADD_BASE,
  RECSEG_ASIZE_SHIFT,
  RECSEG_CHECK,
  RECSEG_REG_MASK,
  REC_BASE,
  REC_DISP,
  REC_IMM,
  REC_INDEX,
  REC_LEN,
  REC_REG,
  REC_RM,
  REC_SCALE,
  REC_VVVV,
} from '../../abi/record.ts'
import type { Handler } from '../../isa/handlers.ts'
import type { OperandInfo, Place as OperandPlace } from '../../isa/operands.ts'
import { encodeFlags, readCond, readFlag, setFlagBits } from '../../isa/flags.ts'
import type { LazyFlags } from '../../isa/flags.ts'
import type { ArithFlag, Cond, FlagsOf, Semantics, Ty, Val } from '../../isa/emit.ts'
import type { WasmTy } from '../../abi/kernel-imports.types.ts'
import { Node, node, resolve, valueNode, variableNode } from '../emit/ir.ts'
import type { ExitPoint, PageGroup, Statement, Variable } from '../emit/ir.ts'
import { InterpEmit, importOf } from '../interp/interp-emit.ts'
import type { Instance } from '../interp/record-emit.ts'
import {
  IN_STRUCT,
  UNKNOWN,
  cheapCondition,
  conditionOf,
  conditionOfFlag,
  kindOf,
  operationOf,
  valuesOf,
} from './flag-state.ts'
import type { FlagState, Operation } from './flag-state.ts'
import { effectsOf } from './helpers.ts'
import { PageGroups } from './page-groups.ts'
import { CC_A, CC_B, CC_KIND, CC_RES, CONTROLS, XMMS, bit, byteAt, registerAt, typeOf } from './registers.ts'

/** What the instructions of a block hand on to each other. */
export class BlockState {
  readonly mode: number
  flags: FlagState
  /** The block's last statement was recorded. */
  ended = false
  /** It ends in a call of code that is part of the region. */
  readonly inlined: boolean
  readonly groups = new PageGroups()

  constructor(mode: number, flags: FlagState, inlined: boolean) {
    this.mode = mode
    this.flags = flags
    this.inlined = inlined
  }
}

export interface SemanticHandler extends Handler {
  readonly semantics: Semantics
  readonly instance: Instance
}

/** One instruction of a region. */
export interface Instruction {
  readonly handler: SemanticHandler
  /** The record, 32 bytes. */
  readonly record: DataView
  /** RIP relative to the region's first page, and the page of it (a multiple of 4096). */
  readonly rip: number
  readonly page: number
}

/** Fields of a record with a register's offset in the CPU struct. */
const FIELD: Readonly<Partial<Record<OperandPlace, number>>> = {
  rm: REC_RM,
  reg: REC_REG,
  vvvv: REC_VVVV,
  is4: REC_IMM,
}

const BASE_LOCAL = 1
const DATA_ATTRIBUTES = 0x1_0000 | 0x10 | 8 | 4 | 2 // unusable, S, code, expand-down, writable
const PLAIN_DATA = 0x10 | 2

export class JitEmit extends InterpEmit {
  #state: BlockState
  #at: Instruction
  /** Instructions of the block before it. */
  #index = 0
  /** Linear addresses of the memory operand by the access: bytes * 2 + write. */
  readonly #address = new Map<number, Node>()
  #point: ExitPoint | undefined
  /** Vector registers whose address was handed out. */
  #addressed = 0n
  /** A helper ran that may have written over this code. */
  #stored = false

  /** @param first any instruction of the region */
  constructor(first: Instruction, state: BlockState) {
    super(first.handler.instance, 1, true)
    this.#at = first
    this.#state = state
  }

  /** What follows are the instructions of a block, recorded in `statements`. */
  block(state: BlockState, statements: Statement[]): void {
    this.#state = state
    this.body = statements
    this.current = statements
  }

  instruction(at: Instruction, index: number): void {
    this.start(at.handler.instance)
    this.#at = at
    this.#index = index
    if (this.#address.size > 0) this.#address.clear() // a call of C++
    this.#point = undefined
    this.#addressed = 0n
    this.#stored = false
  }

  // --- registers ---

  #register(reg: number): Node {
    return this.mark(valueNode('reg', typeOf(reg), reg))
  }

  #setRegister(reg: number, value: Node): void {
    this.#state.groups.changed(reg)
    this.current.push({ kind: 'setReg', reg, node: value })
  }

  protected override field(op: string, ty: Ty, offset: number): Node {
    const { record } = this.#at
    switch (op) {
      case 'i32.load8_u':
      case 'i64.load8_u':
        return this.const(ty, record.getUint8(offset))
      case 'i32.load16_u':
      case 'i64.load16_u':
        return this.const(ty, record.getUint16(offset, true))
      case 'i32.load':
      case 'i64.load32_s':
        return this.const(ty, record.getInt32(offset, true))
      case 'i64.load':
        return this.#wide(offset)
      default:
        throw new Error(`a record field read by ${op}`)
    }
  }

  #wide(offset: number): Node {
    const { record } = this.#at
    const low = record.getInt32(offset, true)
    const small = record.getInt32(offset + 4, true) === low >> 31
    return this.const('i64', small ? low : record.getBigInt64(offset, true))
  }

  protected override location(info: OperandInfo): readonly [Node, number] {
    const field = FIELD[info.place]
    return field === undefined ? super.location(info) : [this.cpu, this.#at.record.getUint16(field, true)]
  }

  protected override registerAt(field: number): Node {
    const offset = this.#at.record.getUint16(field, true)
    const made = new Node('address', 'i32', 'i32.add', [this.cpu, this.const('i32', offset)])
    made.value = offset
    return made
  }

  /** Offset in the CPU struct of an address that may be a register's. */
  #offset(address: Node, offset: number): number | undefined {
    if (address === this.cpu) return offset
    return address.kind === 'address' ? Number(address.value) + offset : undefined
  }

  protected override loadFrom(ty: Ty, address: Node, offset: number): Node {
    const at = this.#offset(address, offset)
    if (at !== undefined) {
      const reg = registerAt(ty, at)
      if (reg >= 0) return this.#part(ty, reg, byteAt(reg, at))
      const known = this.#known(ty, at)
      if (known) return known
    }
    return super.loadFrom(ty, address, offset)
  }

  /** Fields of the CPU struct that the mode decides. */
  #known(ty: Ty, offset: number): Node | undefined {
    const { mode } = this.#state
    const long = (mode & MODE_CS_MASK) === MODE_CS64
    switch (offset) {
      case CPU_ZERO:
        return this.const(ty, 0)
      case CPU_MODE:
        return this.const(ty, mode)
      case CPU_AMASK:
        return this.const(ty, long ? -1 : 0xffff_ffff)
      case CPU_SMASK:
        return this.const(ty, long ? -1 : mode & MODE_SS32 ? 0xffff_ffff : 0xffff)
      case CPU_CPL:
        return mode & MODE_CPL3 ? this.const(ty, 3) : undefined
      case CPU_PCBASE:
        return this.#ripAt(this.#at.page)
      default:
        return undefined
    }
  }

  /** RIP from its distance to the region's first page. */
  #ripAt(relative: number): Node {
    const base = valueNode('local', 'i64', BASE_LOCAL)
    const rip = this.add(base, this.const('i64', relative))
    return (this.#state.mode & MODE_CS_MASK) === MODE_CS64
      ? rip
      : this.and(rip, this.const('i64', 0xffff_ffff))
  }

  #part(ty: Ty, reg: number, byte: number): Node {
    const whole = this.#register(reg)
    if (whole.ty === 'v128') return this.#lane(ty, whole, byte)
    if (ty === whole.ty) return whole
    if (byte === 0) return this.trunc(whole, ty as 'i8')
    return this.trunc(this.shr(whole, this.const('i32', byte * 8)), ty as 'i8')
  }

  #lane(ty: Ty, whole: Node, byte: number): Node {
    switch (ty) {
      case 'v128':
        return whole
      case 'i64':
      case 'f64':
        return this.op(`${ty}x2.extract_lane`, ty, [whole], [byte >> 3])
      case 'i32':
      case 'f32':
        return this.op(`${ty}x4.extract_lane`, ty, [whole], [byte >> 2])
      case 'i16':
        return this.op('i16x8.extract_lane_u', ty, [whole], [byte >> 1])
      case 'i8':
        return this.op('i8x16.extract_lane_u', ty, [whole], [byte])
    }
  }

  protected override storeTo(op: string, address: Node, offset: number, value: Node): void {
    const at = this.#offset(address, offset)
    const reg = at === undefined ? -1 : registerAt(value.ty, at)
    if (at === undefined || reg < 0) super.storeTo(op, address, offset, value)
    else this.#setPart(op, reg, byteAt(reg, at), value)
  }

  #setPart(op: string, reg: number, byte: number, value: Node): void {
    if (typeOf(reg) === 'v128') return this.#setLane(op, reg, byte, value)
    if (op === 'i64.store') return this.#setRegister(reg, value)
    const mask = op === 'i32.store8' ? 0xffn : op === 'i32.store16' ? 0xffffn : 0xffff_ffffn
    const shift = BigInt(byte * 8)
    const kept = this.and(this.#register(reg), this.const('i64', ~(mask << shift)))
    const bits = this.zext(value, 'i64')
    this.#setRegister(reg, this.or(kept, byte === 0 ? bits : this.shl(bits, this.const('i32', byte * 8))))
  }

  #setLane(op: string, reg: number, byte: number, value: Node): void {
    if (op === 'v128.store') return this.#setRegister(reg, value)
    const whole = this.#register(reg)
    const lanes: Readonly<Record<string, readonly [string, number]>> = {
      'i64.store': ['i64x2', 3],
      'f64.store': ['f64x2', 3],
      'i32.store': ['i32x4', 2],
      'f32.store': ['f32x4', 2],
      'i32.store16': ['i16x8', 1],
      'i32.store8': ['i8x16', 0],
    }
    const [shape, log] = lanes[op] ?? ['', 0]
    if (shape === '') throw new Error(`${op} to a vector register`)
    this.#setRegister(reg, this.op(`${shape}.replace_lane`, 'v128', [whole, value], [byte >> log]))
  }

  override addressOf(i: number): Node {
    const address = super.addressOf(i)
    if (this.isMemory(i)) return address
    const [base, offset] = this.location(this.operand(i))
    const at = this.#offset(base, offset)
    const reg = at === undefined ? -1 : registerAt('v128', at)
    if (reg < 0) return address
    // The instruction works on the copy in the CPU struct.
    this.#addressed |= bit(reg)
    this.current.push({ kind: 'spill', regs: bit(reg) })
    return address
  }

  override storeAt(address: Val, value: Val, offset = 0): void {
    super.storeAt(address, value, offset)
    this.#reload(this.#addressed)
  }

  #reload(regs: bigint): void {
    if (regs === 0n) return
    this.current.push({ kind: 'reload', regs })
  }

  // --- addresses ---

  protected override sum(displacement: Node | undefined): Node {
    const { record } = this.#at
    let sum: Node
    if (this.isMoffs) sum = this.#wide(REC_IMM)
    else {
      const base = record.getUint16(REC_BASE, true)
      const index = record.getUint16(REC_INDEX, true)
      sum = this.const('i64', record.getInt32(REC_DISP, true))
      if (base !== CPU_ZERO) sum = this.add(this.getCpu('i64', base), sum)
      if (index !== CPU_ZERO) {
        const by = record.getUint8(REC_SCALE)
        const scaled = this.shl(this.getCpu('i64', index), this.const('i32', by))
        sum = sum.kind === 'const' && sum.value === 0 ? scaled : this.add(scaled, sum)
      }
    }
    return displacement ? this.add(sum, displacement) : sum
  }

  protected override sizeMask(): Node {
    const size = (Number(this.seg().value) >> RECSEG_ASIZE_SHIFT) & 3
    return this.const('i64', size === 2 ? -1 : size === 1 ? 0xffff_ffff : 0xffff)
  }

  override linear(bytes: number, write: boolean, displacement?: Val | number): Node {
    const moved =
      typeof displacement === 'number' ? this.const('i64', displacement) : displacement && node(displacement)
    const key = bytes * 2 + (write ? 1 : 0)
    const known = moved ? undefined : this.#address.get(key)
    if (known) return known
    const offset = this.and(this.sum(moved), this.sizeMask())
    const seg = Number(this.seg().value)
    let made = offset
    if (seg & RECSEG_CHECK) made = this.#checked(seg, offset, bytes, write)
    else if (seg & RECSEG_ADD_BASE) {
      const slot = CPU_SEG + (seg & RECSEG_REG_MASK) * CPU_SEG_STRIDE
      made = this.add(this.getCpu('i64', slot + SEG_BASE), offset)
    }
    if (!moved && this.atTop) this.#address.set(key, made)
    return made
  }

  /** A segment of 4 GiB of plain data only moves the offset; anything else is looked at by the kernel. */
  #checked(seg: number, offset: Node, bytes: number, write: boolean): Node {
    const slot = CPU_SEG + (seg & RECSEG_REG_MASK) * CPU_SEG_STRIDE
    const attributes = this.and(this.getCpu('i32', slot + SEG_ATTR), this.const('i32', DATA_ATTRIBUTES))
    const variable = this.variable('i64')
    const base = this.getCpu('i64', slot + SEG_BASE)
    const sum = this.and(this.add(base, offset), this.const('i64', 0xffff_ffff))
    this.current.push({ kind: 'set', variable, node: sum })
    const plain = [
      this.eq(attributes, this.const('i32', PLAIN_DATA)),
      this.eq(this.getCpu('i32', slot + SEG_LIMIT), this.const('i32', -1)),
      this.leU(offset, this.const('i64', 0x1_0000_0000 - bytes)),
    ]
    this.unless(plain, [], () => {
      const access = this.const('i32', bytes | (write ? 0x100 : 0))
      this.call('seg_linear', [this.const('i32', seg), offset, access], variable)
    })
    return this.valueIn(variable)
  }

  // --- flags ---

  #canonical(): LazyFlags {
    const { flags } = this.#state
    if (flags.at === 'canonical') return flags.flags
    if (flags.at === 'operation') {
      return encodeFlags(this, flags.of, () => this.#canonical())
    }
    const operation = this.#operation()
    if (operation) return encodeFlags(this, operation, () => this.#canonical())
    const kind = this.#register(CC_KIND)
    const [a, b, res] = [this.#register(CC_A), this.#register(CC_B), this.#register(CC_RES)]
    if (flags.kind === CC_CANONICAL) return { res, aux: this.trunc(a, 'i32') }
    return {
      res: this.pinned('call:cc_result', 'i64', [this.cpu, kind, a, b, res]),
      aux: this.pinned('call:cc_carries', 'i32', [this.cpu, kind, a, b, res]),
    }
  }

  protected override flagState(): LazyFlags {
    return this.#canonical()
  }
  protected override setFlagState(flags: LazyFlags): void {
    this.#setFlags({ at: 'canonical', flags, of: undefined })
  }
  #setFlags(flags: FlagState): void {
    this.#state.flags = flags
    this.#point = undefined
  }
  protected override forgetFlags(): void {}

  override setFlags(of: FlagsOf): void {
    if (of.kind === 'add' || of.kind === 'sub' || of.kind === 'logic') {
      this.#setFlags({ at: 'operation', of, exact: isExact(of) })
      return
    }
    const flags = encodeFlags(this, of, () => this.#canonical())
    this.#setFlags({ at: 'canonical', flags, of })
  }

  override setFlagBits(bits: { readonly [F in ArithFlag]?: Val }): void {
    this.setFlagState(setFlagBits(this, this.#canonical(), bits))
  }

  override flag(name: ArithFlag): Val {
    const cc = conditionOfFlag(name)
    return (cc && this.#condition(cc)) ?? readFlag(this, this.#canonical(), name)
  }

  override cond(cc: Cond): Val {
    return this.#condition(cc) ?? readCond(this, this.#canonical(), cc)
  }

  /** The operation that the flags in the locals are about, as far as that is known. */
  #operation(): Operation | undefined {
    const { flags } = this.#state
    if (flags.at !== 'locals' || flags.kind === undefined || flags.kind < CC_ADD) return undefined
    return operationOf(this, flags.kind, [this.#register(CC_A), this.#register(CC_B), this.#register(CC_RES)])
  }

  #condition(cc: Cond): Val | undefined {
    const { flags } = this.#state
    if (flags.at === 'locals') {
      const operation = this.#operation()
      return operation && conditionOf(this, operation, flags.exact, cc)
    }
    if (flags.at === 'operation') return conditionOf(this, flags.of, flags.exact, cc)
    if (flags.at === 'canonical' && flags.of) return cheapCondition(this, flags.of, cc)
    return undefined
  }

  /** Flags to their locals, which is where blocks expect each other's. */
  flushFlags(): void {
    const { flags } = this.#state
    if (flags.at === 'locals') return
    const { kind, values } = this.#raw(flags)
    this.#setRegister(CC_KIND, this.const('i32', kind))
    const [a, b, res] = values
    if (a) this.#setRegister(CC_A, node(a))
    if (b && kind !== CC_CANONICAL) this.#setRegister(CC_B, node(b))
    if (res) this.#setRegister(CC_RES, node(res))
    this.#setFlags({ at: 'locals', kind, exact: flags.at === 'operation' && flags.exact })
  }

  #raw(flags: Exclude<FlagState, { readonly at: 'locals' }>): {
    readonly kind: number
    readonly values: readonly Val[]
  } {
    if (flags.at === 'operation') return { kind: kindOf(flags.of), values: valuesOf(this, flags.of) }
    const { res, aux } = flags.flags
    return { kind: CC_CANONICAL, values: [this.zext(aux, 'i64'), this.const('i64', 0), res] }
  }

  /** Flags to the CPU struct, for helpers that look there. */
  #commitFlags(): void {
    const { flags } = this.#state
    if (flags.at === 'locals' && flags.kind === CC_NONE) {
      this.internal('cc_commit', [], undefined)
      // A condition may have read it before: a copy would bring the flags of that time back.
      this.#reload(bit(CC_KIND))
      return
    }
    const { res, aux } = this.#canonical()
    super.storeTo('i64.store', this.cpu, CPU_FL_RES, node(res))
    super.storeTo('i32.store', this.cpu, CPU_FL_AUX, node(aux))
    super.storeTo('i32.store', this.cpu, CPU_CC_KIND, this.const('i32', CC_NONE))
    this.#setRegister(CC_KIND, this.const('i32', CC_NONE))
    this.#setFlags(IN_STRUCT)
  }

  // --- branches within the instruction: flags that only one side sets meet in the locals ---

  override if_(condition: Val, then: () => void, otherwise?: () => void): void {
    const known = this.known(condition)
    if (known !== undefined) {
      if (known !== 0n) then()
      else otherwise?.()
      return
    }
    const before = this.#state.flags
    const thenList = this.nested(then)
    const afterThen = this.#state.flags
    this.#setFlags(before)
    const otherwiseList = otherwise ? this.nested(otherwise) : []
    const afterOtherwise = this.#state.flags
    this.#setFlags(before)
    if (afterThen !== before || afterOtherwise !== before)
      this.#meet(before, [thenList, otherwiseList], [afterThen, afterOtherwise])
    this.current.push({ kind: 'if', condition: node(condition), then: thenList, otherwise: otherwiseList })
  }

  override unless(all: readonly Val[], any: readonly Val[], rare: () => void): void {
    const before = this.#state.flags
    const list = this.nested(rare)
    const after = this.#state.flags
    this.#setFlags(before)
    if (after !== before) this.#meet(before, [list], [after])
    const split = any.length > 0 ? all.length : all.length - 1
    const conditions = [...all, ...any].map(node)
    this.current.push({
      kind: 'unless',
      all: conditions.slice(0, split),
      any: conditions.slice(split),
      rare: list,
    })
  }

  #meet(before: FlagState, lists: readonly Statement[][], after: readonly FlagState[]): void {
    this.flushFlags()
    const kinds = new Set<number | undefined>([])
    let exact = true
    const outer = this.current
    for (const [i, list] of lists.entries()) {
      this.#setFlags(after[i] ?? before)
      this.current = list
      if (this.#state.flags === before) this.#setFlags(locals(before))
      else this.flushFlags()
      this.current = outer
      const { flags } = this.#state
      kinds.add(kindIn(flags))
      exact &&= exactIn(flags)
    }
    if (lists.length === 1) {
      kinds.add(kindIn(locals(before)))
      exact &&= exactIn(locals(before))
    }
    const [only] = kinds
    this.#setFlags({ at: 'locals', kind: kinds.size === 1 ? only : undefined, exact })
  }

  override loop(body: () => Val): void {
    this.flushFlags()
    const before = this.#state.flags
    this.#setFlags(UNKNOWN)
    const entered = this.#state.flags
    let again: Node | undefined
    const list = this.nested(() => {
      again = node(body())
      this.flushFlags()
    })
    if (!again) throw new Error('a loop body must return its condition')
    if (this.#state.flags === entered) this.#setFlags(before)
    else this.#setFlags(UNKNOWN)
    this.current.push({ kind: 'loop', body: list, again })
  }

  // --- leaving ---

  protected override exitPoint(): ExitPoint {
    if (this.#point) return this.#point
    const { flags } = this.#state
    const raw = flags.at === 'locals' ? undefined : this.#raw(flags)
    const made: ExitPoint = {
      rip: this.#at.rip,
      retired: this.#index,
      flags: raw && { kind: raw.kind, values: raw.values.map(node) },
    }
    if (this.atTop) this.#point = made
    return made
  }

  /** Pushed, popped or by way of RSP. RBP is a frame's in old code only. */
  protected override onStack(seg: Node, bytes: number): boolean {
    const { value } = resolve(seg)
    const word = (this.#state.mode & MODE_CS_MASK) === MODE_CS64 ? 8 : 4
    return value === SEG_SS && bytes <= word && this.#at.record.getUint16(REC_BASE, true) !== CPU_RBP
  }

  /** Only what runs whenever the block does; vectors are too often not aligned. */
  protected override groupOf(bytes: number, writes: boolean): PageGroup | undefined {
    return this.atTop && bytes <= 8
      ? this.#state.groups.of(this.#at.record, this.#at.page, writes)
      : undefined
  }

  protected override resultIn(variable: Variable): Node {
    return variableNode('once', variable)
  }

  get #next(): number {
    return this.#at.rip + this.#at.record.getUint8(REC_LEN)
  }

  override nextRip(): Node {
    return this.#ripAt(this.#next)
  }

  get #isCall(): boolean {
    return this.row.mnemonic === 'call'
  }

  override branchRel(condition?: Val, commit?: () => void): void {
    this.flushFlags()
    const taken = (): void => {
      commit?.()
      const target = this.#at.page + Number(this.#at.record.getBigInt64(REC_IMM, true))
      if (this.#isCall) this.#transfer(undefined, target, 'call')
      else this.current.push({ kind: 'goto', rip: target })
    }
    if (condition) this.if_(condition, taken)
    else {
      taken()
      if (this.atTop) this.#state.ended = true
    }
  }

  override branchTo(rip: Val, commit?: () => void): void {
    const target = node(rip)
    if (commit && this.width === 64) {
      const sixteen = this.const('i32', 16)
      const suspicious = this.ne(this.sar(this.shl(target, sixteen), sixteen), target)
      this.if_(suspicious, () => this.call('check_near', [target]))
    }
    commit?.()
    this.flushFlags()
    this.#transfer(target, 0, this.#isCall ? 'call' : this.row.mnemonic === 'ret' ? 'return' : 'jump')
    this.#state.ended = true
  }

  #transfer(target: Node | undefined, rip: number, how: 'call' | 'jump' | 'return'): void {
    const returns = how === 'call' ? this.#next : undefined
    const called = how === 'call' && !this.#state.inlined
    this.current.push({ kind: 'transfer', target, rip, how, returns })
    if (called) this.#setFlags(IN_STRUCT)
  }

  /** In front of everything else of an instruction that goes on in the page at `page`. */
  crossing(page: number): void {
    this.current.push({ kind: 'crossing', page, at: this.exitPoint() })
  }

  /** After the last instruction of a block that does not branch itself. */
  finish(end: 'next' | 'leave' | 'more'): void {
    if (this.#state.ended) return
    if (this.#stored && end !== 'leave')
      this.current.push({ kind: 'valid', rip: this.#next, at: this.exitPoint() })
    if (end === 'more') return
    this.flushFlags()
    this.current.push({ kind: end === 'next' ? 'goto' : 'leave', rip: this.#next })
    this.#state.ended = true
  }

  // --- helpers ---

  override call(name: string, args: readonly Val[], into?: Variable): Node | undefined {
    const entry = importOf(name)
    if (args.length !== entry.params.length)
      throw new Error(`${this.row.id}: ${name} takes ${entry.params.length} arguments`)
    const nodes = args.map((arg, i) => this.argument(arg, entry.params[i] as WasmTy, name))
    const { registers, flags, mode, stores } = effectsOf(name)
    if (flags) this.#commitFlags()
    if (entry.fault || entry.transfers) {
      super.storeTo('i64.store', this.cpu, CPU_RIP, this.#ripAt(this.#at.rip))
      super.storeTo('i64.store', this.cpu, CPU_NEXT_RIP, this.nextRip())
    }
    // It may go anywhere, and other vCPUs may change what pages mean meanwhile.
    this.#state.groups.forget()
    if (registers !== 0n) this.current.push({ kind: 'spill', regs: registers })
    const result = into ?? (entry.result ? this.variable(entry.result) : undefined)
    this.current.push({ kind: 'call', name, args: nodes, result })
    if (registers !== 0n) this.current.push({ kind: 'reload', regs: registers })
    this.#reload(this.#addressed & XMMS)
    if (mode) this.current.push({ kind: 'reload', regs: CONTROLS })
    if (stores) this.#stored = true
    if (entry.fault) this.faultCheck()
    if (entry.transfers) this.#transferred(name)
    return result && !into ? this.valueIn(result) : undefined
  }

  /** A string instruction that is complete goes on; everything else that transfers is for the run loop. */
  #transferred(name: string): void {
    const leave = (): void => this.leave('transfer')
    if (name.startsWith('str_')) this.if_(this.ne(this.getCpu('i64', CPU_NEXT_RIP), this.nextRip()), leave)
    else {
      leave()
      if (this.atTop) this.#state.ended = true
    }
  }

  protected override faultCheck(): void {
    this.if_(this.getCpu('i32', CPU_FAULT), () => this.leave('fault'))
  }
}

/** Where flags are after flushFlags(). */
function locals(flags: FlagState): FlagState {
  if (flags.at === 'locals') return flags
  if (flags.at === 'operation') return { at: 'locals', kind: kindOf(flags.of), exact: flags.exact }
  return { at: 'locals', kind: CC_CANONICAL, exact: false }
}

const kindIn = (flags: FlagState): number | undefined => (flags.at === 'locals' ? flags.kind : undefined)
const exactIn = (flags: FlagState): boolean => flags.at === 'locals' && flags.exact

/** The result is a + b or a - b, with no carry that came in: then one comparison tells the carry that goes out. */
function isExact(of: Operation): boolean {
  if (of.kind === 'logic') return true
  let result = resolve(node(of.result))
  const [first] = result.args
  if (result.op === 'i32.and' && result.args[1]?.kind === 'const' && first) result = resolve(first)
  if (!result.op.endsWith(`.${of.kind}`)) {
    // Constants were folded, or nothing was added: the carry cannot be told from the shape.
    return false
  }
  const [a, b] = result.args
  return a !== undefined && b !== undefined && same(a, of.a) && same(b, of.b)
}

function same(a: Node, b: Val): boolean {
  const [x, y] = [resolve(a), resolve(node(b))]
  if (x === y) return true
  return x.kind === 'const' && y.kind === 'const' && x.value === y.value
}
