/**
 * Body of one function: operators by text name, locals, structured control flow with symbolic labels.
 * It checks label scopes and control nesting; types are left to WebAssembly.validate.
 */
import { ByteWriter } from './bytes.ts'
import { opcode } from './opcodes.ts'

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128'

export const VALUE_TYPE_CODE: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
}
const BLOCK_VOID = 0x40

/** A branch target; belongs to the construct that it was given to. */
export class Label {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

export interface MemoryImmediate {
  readonly offset: number
}

export class CodeBuilder {
  readonly #code: ByteWriter
  readonly #locals: ValueType[] = []
  /** #declarations() of the locals so far. */
  #declared: ByteWriter | undefined
  readonly #scopes: (Label | undefined)[] = []
  readonly #parameterCount: number
  /** Offset in the code * 2 + likely. */
  readonly #hints: number[] = []

  /** @param capacity bytes of code that are likely to be written */
  constructor(parameterCount: number, capacity?: number) {
    this.#parameterCount = parameterCount
    this.#code = new ByteWriter(capacity)
  }

  /** Index of a new local. */
  local(type: ValueType): number {
    this.#locals.push(type)
    this.#declared = undefined
    return this.#parameterCount + this.#locals.length - 1
  }

  /** Says of the `if` or `br_if` that follows whether its condition is likely nonzero (branch hinting proposal). */
  expect(likely: boolean): this {
    this.#hints.push(this.#code.length * 2 + (likely ? 1 : 0))
    return this
  }

  /** Hints with their offsets in the body that finish() gives, as the section metadata.code.branch_hint wants them. */
  hints(): ByteWriter | undefined {
    if (this.#hints.length === 0) return undefined
    const before = this.#declarations().length
    const w = new ByteWriter(this.#hints.length * 5 + 5)
    w.u32(this.#hints.length)
    for (const hint of this.#hints) {
      w.u32(before + (hint >>> 1))
      w.u8(1)
      w.u8(hint & 1)
    }
    return w
  }

  get size(): number {
    return this.#code.length
  }

  // --- plain operators ---

  /**
   * Immediates: memory operators take the offset (default 0), after it the lane; constants their value. Alignment is always
   * the natural one. Operators with sixteen bytes are written by lanes().
   */
  op(name: string, first: number | bigint = 0, second: number | bigint = 0): this {
    const { prefix, code, immediate, align } = opcode(name)
    const w = this.#code
    if (prefix === 0) w.u8(code)
    else w.u8u32(prefix, code)
    switch (immediate) {
      case 'none':
        break
      case 'mem':
      case 'memlane':
        w.u8u32(align, Number(first))
        if (immediate === 'memlane') w.u8(Number(second))
        break
      case 'lane':
        w.u8(Number(first))
        break
      case 'lanes16':
      case 'bytes16':
        throw new Error(`${name} takes 16 bytes`)
      case 'i32':
        w.s32(Number(first))
        break
      case 'i64':
        this.#s64(first)
        break
      case 'f32':
        w.f32(Number(first))
        break
      case 'f64':
        w.f64(Number(first))
        break
      case 'zero1':
        w.u8(0)
        break
      case 'zero2':
        w.u8(0)
        w.u8(0)
        break
    }
    return this
  }

  /** v128.const and i8x16.shuffle. */
  lanes(name: string, bytes: readonly number[]): this {
    const { prefix, code, immediate } = opcode(name)
    if (immediate !== 'lanes16' && immediate !== 'bytes16') throw new Error(`${name} takes no 16 bytes`)
    if (bytes.length !== 16) throw new Error(`${name} takes 16 bytes, got ${bytes.length}`)
    this.#code.u8u32(prefix, code)
    this.#code.bytes(bytes)
    return this
  }

  i32(value: number): this {
    this.#code.u8(0x41)
    this.#code.s32(value)
    return this
  }

  i64(value: bigint | number): this {
    this.#code.u8(0x42)
    this.#s64(value)
    return this
  }

  #s64(value: bigint | number): void {
    if (typeof value === 'bigint') this.#code.s64(value)
    else if (Number.isSafeInteger(value)) this.#code.s53(value)
    else this.#code.s64(BigInt(value))
  }

  #indexed(code: number, index: number): this {
    this.#code.u8u32(code, index)
    return this
  }

  get(local: number): this {
    return this.#indexed(0x20, local)
  }

  set(local: number): this {
    return this.#indexed(0x21, local)
  }

  tee(local: number): this {
    return this.#indexed(0x22, local)
  }

  globalGet(index: number): this {
    return this.#indexed(0x23, index)
  }

  globalSet(index: number): this {
    return this.#indexed(0x24, index)
  }

  call(functionIndex: number): this {
    return this.#indexed(0x10, functionIndex)
  }

  /** Operand order: arguments, then the table slot. */
  callIndirect(typeIndex: number, tableIndex = 0): this {
    this.#indexed(0x11, typeIndex)
    this.#code.u32(tableIndex)
    return this
  }

  /** A call that takes the place of this function's frame (tail calls, WebAssembly 3.0). */
  returnCall(functionIndex: number): this {
    return this.#indexed(0x12, functionIndex)
  }

  /** As callIndirect(), in place of this function's frame. */
  returnCallIndirect(typeIndex: number, tableIndex = 0): this {
    this.#indexed(0x13, typeIndex)
    this.#code.u32(tableIndex)
    return this
  }

  return(): this {
    this.#code.u8(0x0f)
    return this
  }

  // --- control ---

  #open(code: number, label: Label | undefined, result: ValueType | undefined): this {
    this.#code.u8(code)
    this.#code.u8(result === undefined ? BLOCK_VOID : VALUE_TYPE_CODE[result])
    this.#scopes.push(label)
    return this
  }

  block(label?: Label, result?: ValueType): this {
    return this.#open(0x02, label, result)
  }

  loop(label?: Label, result?: ValueType): this {
    return this.#open(0x03, label, result)
  }

  if(result?: ValueType, label?: Label): this {
    return this.#open(0x04, label, result)
  }

  else(): this {
    this.#code.u8(0x05)
    return this
  }

  end(): this {
    if (this.#scopes.length === 0) throw new Error('end without an open block')
    this.#scopes.pop()
    this.#code.u8(0x0b)
    return this
  }

  #depth(label: Label): number {
    const at = this.#scopes.lastIndexOf(label)
    if (at < 0) throw new Error(`label ${label.name} is not in scope`)
    return this.#scopes.length - 1 - at
  }

  br(label: Label): this {
    return this.#indexed(0x0c, this.#depth(label))
  }

  brIf(label: Label): this {
    return this.#indexed(0x0d, this.#depth(label))
  }

  brTable(labels: readonly Label[], otherwise: Label): this {
    this.#code.u8(0x0e)
    this.#code.u32(labels.length)
    for (const label of labels) this.#code.u32(this.#depth(label))
    this.#code.u32(this.#depth(otherwise))
    return this
  }

  /** Local declarations and code with their size in front, as the code section wants them. */
  finish(section: ByteWriter): void {
    if (this.#scopes.length !== 0) throw new Error(`${this.#scopes.length} blocks are still open`)
    const declarations = this.#declarations()
    section.u32(declarations.length + this.#code.length + 1)
    section.bytes(declarations.view())
    section.bytes(this.#code.view())
    section.u8(0x0b)
  }

  /** The code alone, as initial values want it. */
  expression(): Uint8Array {
    this.#code.u8(0x0b)
    return this.#code.view()
  }

  #declarations(): ByteWriter {
    if (this.#declared) return this.#declared
    const body = new ByteWriter()
    const runs: { type: ValueType; count: number }[] = []
    for (const type of this.#locals) {
      const last = runs.at(-1)
      if (last?.type === type) last.count++
      else runs.push({ type, count: 1 })
    }
    body.u32(runs.length)
    for (const { type, count } of runs) {
      body.u32(count)
      body.u8(VALUE_TYPE_CODE[type])
    }
    this.#declared = body
    return body
  }
}
