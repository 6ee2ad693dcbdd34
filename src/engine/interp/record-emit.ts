/**
 * Emitter over a decoded record and the CPU struct: where operands, registers, flags and address parts are. Guest memory
 * and control are in interp-emit.ts.
 */
import {
  CPU_AMASK,
  CPU_FL_AUX,
  CPU_FL_RES,
  CPU_GPR,
  CPU_PCBASE,
  CPU_SCRATCH,
  CPU_SEG,
  CPU_SEG_STRIDE,
  CPU_XMM,
  CPU_XMM_STRIDE,
} from '../../abi/layout.ts'
import {
  RECSEG_ASIZE_SHIFT,
  REC_BASE,
  REC_DISP,
  REC_FLAGS,
  REC_IMM,
  REC_INDEX,
  REC_OFF,
  REC_REG,
  REC_RM,
  REC_SCALE,
  REC_SEG,
  REC_VVVV,
} from '../../abi/record.ts'
import type { LazyFlags } from '../../isa/flags.ts'
import type { Form } from '../../isa/handlers.ts'
import { operandInfo } from '../../isa/operands.ts'
import type { OperandInfo } from '../../isa/operands.ts'
import type { IntTy, Reg64, Ty, Val, Vsib } from '../../isa/emit.ts'
import type { Row, Width } from '../../isa/row.ts'
import { node, valueNode } from '../emit/ir.ts'
import type { Node } from '../emit/ir.ts'
import { PureEmit } from '../emit/pure-emit.ts'

// prettier-ignore
const REGISTER: Readonly<Record<Reg64 | 'rbx', number>> = {
  rax: 0, rcx: 1, rdx: 2, rbx: 3, rsp: 4, rbp: 5, rsi: 6, rdi: 7, r11: 11,
}

const LOAD: Readonly<Record<Ty, string>> = {
  i8: 'i32.load8_u', i16: 'i32.load16_u', i32: 'i32.load', i64: 'i64.load', f32: 'f32.load', f64: 'f64.load', v128: 'v128.load',
} // prettier-ignore
const STORE: Readonly<Record<Ty, string>> = {
  i8: 'i32.store8', i16: 'i32.store16', i32: 'i32.store', i64: 'i64.store', f32: 'f32.store', f64: 'f64.store', v128: 'v128.store',
} // prettier-ignore

/** WebAssembly load and store of a type. Most are of i64: where the key of a table varies, V8 has to search for it. */
export const loadOp = (ty: Ty): string => (ty === 'i64' ? 'i64.load' : LOAD[ty])
export const storeOp = (ty: Ty): string => (ty === 'i64' ? 'i64.store' : STORE[ty])

/** What an emitter asks of a row at a width and in a form, found once: the JIT asks for every instruction that it compiles. */
export interface Instance {
  readonly row: Row
  readonly width: Width
  readonly form: Form
  readonly operands: readonly OperandInfo[]
  /** By operand: it is in memory. */
  readonly memory: readonly boolean[]
  /** The operand that REC_IMM is the immediate of, -1 if there is none. */
  readonly immediate: number
  /** The address is an offset in the instruction. */
  readonly moffs: boolean
}

export function instanceOf(row: Row, width: Width, form: Form): Instance {
  const operands = row.operands.map((operand) => operandInfo(operand, width))
  const inMemory = ({ place }: OperandInfo): boolean =>
    place === 'mem' || place === 'moffs' || place === 'vsib' || (place === 'rm' && form !== 'R')
  return {
    row,
    width,
    form,
    operands,
    memory: operands.map(inMemory),
    immediate: operands.findIndex(({ place }) => place === 'imm'),
    moffs: operands.some(({ place }) => place === 'moffs'),
  }
}

export abstract class RecordEmit extends PureEmit {
  mem = false
  #instance: Instance
  protected readonly cpu = valueNode('local', 'i32', 0)
  protected readonly rec: Node
  /** The handler stands in run(), where a call costs more than a few more bytes. */
  protected readonly inlined: boolean
  readonly #fields = new Map<string, Node>()
  #flags: LazyFlags | undefined

  /** @param recLocal index of the local that holds the record address (the CPU struct's is local 0) */
  constructor(instance: Instance, recLocal: number, inlined: boolean) {
    super()
    this.rec = valueNode('local', 'i32', recLocal)
    this.inlined = inlined
    this.#instance = instance
    this.#setInstance(instance)
  }

  #setInstance(instance: Instance): void {
    this.#instance = instance
    this.mem = instance.form !== 'R'
    this.setWidth(instance.width)
  }

  /** What is emitted from now on is another instruction. */
  protected start(instance: Instance): void {
    this.#setInstance(instance)
  }

  protected get row(): Row {
    return this.#instance.row
  }
  protected get form(): Form {
    return this.#instance.form
  }

  // --- record fields and CPU words ---

  protected field(op: string, ty: Ty, offset: number): Node {
    const key = `${op}@${offset}`
    const known = this.#fields.get(key)
    if (known) return known
    const made = this.early(op, ty, [this.rec], [offset])
    this.#fields.set(key, made)
    return made
  }

  /** Address of the register that a u16 field of the record names. */
  protected registerAt(field: number): Node {
    const key = `register@${field}`
    const known = this.#fields.get(key)
    if (known) return known
    const made = this.early('i32.add', 'i32', [this.cpu, this.field('i32.load16_u', 'i32', field)])
    this.#fields.set(key, made)
    return made
  }

  protected loadFrom(ty: Ty, address: Node, offset: number): Node {
    return this.pinned(loadOp(ty), ty, [address], [offset])
  }

  getCpu(ty: Ty, offset: number): Node {
    return this.loadFrom(ty, this.cpu, offset)
  }
  setCpu(offset: number, value: Val): void {
    this.storeTo(storeOp(value.ty), this.cpu, offset, node(value))
    if (offset >= CPU_FL_RES && offset <= CPU_FL_AUX) this.#flags = undefined
  }
  loadAt(ty: Ty, address: Val, offset = 0): Node {
    return this.loadFrom(ty, node(address), offset)
  }
  storeAt(address: Val, value: Val, offset = 0): void {
    this.storeTo(storeOp(value.ty), node(address), offset, node(value))
  }
  scratch(slot: number): Node {
    return this.pure('i32.add', 'i32', [this.cpu, this.const('i32', CPU_SCRATCH + slot * 16)])
  }

  protected override enterScope(): void {
    this.forgetFlags()
  }
  protected override leaveScope(): void {
    this.forgetFlags()
  }

  // --- operands ---

  protected operand(i: number): OperandInfo {
    const info = this.#instance.operands[i]
    if (!info) throw new Error(`${this.row.id} has no operand ${i}`)
    return info
  }

  isMemory(i: number): boolean {
    const known = this.#instance.memory[i]
    if (known === undefined) throw new Error(`${this.row.id} has no operand ${i}`)
    return known
  }

  protected get isMoffs(): boolean {
    return this.#instance.moffs
  }

  /** Base address and offset of a register operand in the CPU struct. */
  protected location(info: OperandInfo): readonly [Node, number] {
    switch (info.place) {
      case 'rm':
        return [this.registerAt(REC_RM), 0]
      case 'reg':
        return [this.registerAt(REC_REG), 0]
      case 'vvvv':
        return [this.registerAt(REC_VVVV), 0]
      case 'is4':
        return [this.registerAt(REC_IMM), 0]
      case 'fixed': {
        const number = info.fixed ?? 0
        if (info.bank === 'xmm') return [this.cpu, CPU_XMM + number * CPU_XMM_STRIDE]
        if (info.bank === 'none') return [this.cpu, CPU_SEG + number * CPU_SEG_STRIDE]
        // Encoding 4 of an 8-bit fixed register is AH.
        return info.text === 'ah' ? [this.cpu, CPU_GPR + 1] : [this.cpu, CPU_GPR + number * 8]
      }
      case 'number': {
        if (info.text !== 'sreg') throw new Error(`${this.row.id}: a ${info.text} operand has no address`)
        const slot = this.pure('i32.mul', 'i32', [
          this.field('i32.load16_u', 'i32', REC_REG),
          this.const('i32', CPU_SEG_STRIDE),
        ])
        return [this.pure('i32.add', 'i32', [this.cpu, slot]), CPU_SEG]
      }
      default:
        throw new Error(`${this.row.id}: operand ${info.text} has no address`)
    }
  }

  /** Type of a register operand: vectors are always whole. */
  protected registerTy(info: OperandInfo): Ty {
    return info.bank === 'xmm' ? 'v128' : info.bank === 'mm' ? 'i64' : info.ty
  }

  #high(i: number): readonly [Node, number] {
    const info = this.operand(i)
    if (info.bank !== 'xmm' || this.isMemory(i))
      throw new Error(`${this.row.id}: operand ${i} has no upper half`)
    const [base, offset] = this.location(info)
    return [base, offset + 16]
  }

  readHigh(i: number): Node {
    const [base, offset] = this.#high(i)
    return this.loadFrom('v128', base, offset)
  }

  writeHigh(i: number, value: Val): void {
    const [base, offset] = this.#high(i)
    this.storeTo('v128.store', base, offset, node(value))
  }

  protected immediate(i: number, info: OperandInfo): Node {
    if (info.fixed !== undefined) return this.const(info.ty, info.fixed)
    return this.field(loadOp(info.ty), info.ty, i === this.#instance.immediate ? REC_IMM : REC_DISP)
  }

  /** General registers: 32-bit writes zero the upper half, narrower ones keep the rest. */
  protected writeRegister(base: Node, offset: number, value: Val, general: boolean): void {
    if (general && value.ty === 'i32') this.storeTo('i64.store', base, offset, this.zext(value, 'i64'))
    else this.storeTo(storeOp(value.ty), base, offset, node(value))
  }

  // --- addresses ---

  /** base + index * scale + disp, not yet truncated; moffs: the offset itself. */
  protected sum(displacement: Node | undefined): Node {
    let sum: Node
    if (this.isMoffs) sum = this.field('i64.load', 'i64', REC_IMM)
    else {
      const base = this.loadFrom('i64', this.registerAt(REC_BASE), 0)
      sum = this.add(base, this.field('i64.load32_s', 'i64', REC_DISP))
      if (this.form !== 'M') {
        const index = this.loadFrom('i64', this.registerAt(REC_INDEX), 0)
        const scaled = this.pure('i64.shl', 'i64', [index, this.field('i64.load8_u', 'i64', REC_SCALE)])
        sum = this.add(scaled, sum)
      }
    }
    return displacement ? this.add(sum, displacement) : sum
  }

  vsib(): Vsib {
    const base = this.loadFrom('i64', this.registerAt(REC_BASE), 0)
    const index = this.registerAt(REC_INDEX)
    return {
      base: this.add(base, this.field('i64.load32_s', 'i64', REC_DISP)),
      index: [this.loadFrom('v128', index, 0), this.loadFrom('v128', index, 16)],
      indexRegister: index,
      scale: this.field('i32.load8_u', 'i32', REC_SCALE),
    }
  }

  seg(): Node {
    return this.field('i32.load8_u', 'i32', REC_SEG)
  }

  /** 2 << (address size field). */
  addressBytes(): Node {
    const field = this.and(this.shr(this.seg(), this.const('i32', RECSEG_ASIZE_SHIFT)), this.const('i32', 3))
    return this.shl(this.const('i32', 2), field)
  }

  rep(): Node {
    return this.and(
      this.shr(this.field('i32.load8_u', 'i32', REC_FLAGS), this.const('i32', 1)),
      this.const('i32', 3),
    )
  }

  /** All ones in the address size: -1 >> (64 - 8 * bytes), the count taken modulo 64. */
  protected sizeMask(): Node {
    const bits = this.shl(this.addressBytes(), this.const('i32', 3))
    return this.pure('i64.shr_u', 'i64', [
      this.const('i64', -1),
      this.zext(this.sub(this.const('i32', 64), bits), 'i64'),
    ])
  }

  offset(): Node {
    const sum = this.sum(undefined)
    return this.and(sum, this.form === 'M' ? this.getCpu('i64', CPU_AMASK) : this.sizeMask())
  }

  rip(): Node {
    return this.add(this.getCpu('i64', CPU_PCBASE), this.field('i64.load16_u', 'i64', REC_OFF))
  }

  // --- fixed registers ---

  reg(name: Reg64, ty: IntTy = 'i64'): Node {
    return this.getCpu(ty, CPU_GPR + REGISTER[name] * 8)
  }
  setReg(name: Reg64, value: Val): void {
    this.writeRegister(this.cpu, CPU_GPR + REGISTER[name] * 8, value, true)
  }
  regHigh(name: 'rax' | 'rcx' | 'rdx' | 'rbx'): Node {
    return this.getCpu('i8', CPU_GPR + REGISTER[name] * 8 + 1)
  }
  setRegHigh(name: 'rax' | 'rcx' | 'rdx' | 'rbx', value: Val): void {
    this.storeTo('i32.store8', this.cpu, CPU_GPR + REGISTER[name] * 8 + 1, node(value))
  }

  // --- flags ---

  /** The flags in the CPU struct may have changed, or are no longer at hand. */
  protected forgetFlags(): void {
    this.#flags = undefined
  }

  protected override flagState(): LazyFlags {
    if (this.#flags) return this.#flags
    const flags = { res: this.getCpu('i64', CPU_FL_RES), aux: this.getCpu('i32', CPU_FL_AUX) }
    this.#flags = flags
    return flags
  }

  protected override setFlagState(flags: LazyFlags): void {
    this.storeTo('i64.store', this.cpu, CPU_FL_RES, node(flags.res))
    this.storeTo('i32.store', this.cpu, CPU_FL_AUX, node(flags.aux))
    this.#flags = undefined
  }
}
