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
  readonly #code = new ByteWriter()
  readonly #locals: ValueType[] = []
  readonly #scopes: (Label | undefined)[] = []
  readonly #parameterCount: number
  readonly #hints: { readonly at: number; readonly likely: boolean }[] = []

  constructor(parameterCount: number) {
    this.#parameterCount = parameterCount
  }

  /** Index of a new local. */
  local(type: ValueType): number {
    this.#locals.push(type)
    return this.#parameterCount + this.#locals.length - 1
  }

  /** Says of the `if` or `br_if` that follows whether its condition is likely nonzero (branch hinting proposal). */
  expect(likely: boolean): this {
    this.#hints.push({ at: this.#code.length, likely })
    return this
  }

  /** Hints with their offsets in the body that finish() gives, as the section metadata.code.branch_hint wants them. */
  hints(): ByteWriter | undefined {
    if (this.#hints.length === 0) return undefined
    const before = this.#declarations().length
    const w = new ByteWriter()
    w.u32(this.#hints.length)
    for (const { at, likely } of this.#hints) {
      w.u32(before + at)
      w.u8(1)
      w.u8(likely ? 1 : 0)
    }
    return w
  }

  get size(): number {
    return this.#code.length
  }

  // --- plain operators ---

  /**
   * Immediates: memory operators take the offset (default 0), after it the lane; constants their value; v128.const and
   * i8x16.shuffle sixteen bytes. Alignment is always the natural one.
   */
  op(
    name: string,
    first: number | bigint = 0,
    second: number | bigint = 0,
    ...rest: readonly (number | bigint)[]
  ): this {
    const { prefix, code, immediate, align } = opcode(name)
    const w = this.#code
    if (prefix === 0) w.u8(code)
    else {
      w.u8(prefix)
      w.u32(code)
    }
    switch (immediate) {
      case 'none':
        break
      case 'mem':
      case 'memlane':
        w.u32(align)
        w.u32(Number(first))
        if (immediate === 'memlane') w.u8(Number(second))
        break
      case 'lane':
        w.u8(Number(first))
        break
      case 'lanes16':
      case 'bytes16':
        if (rest.length !== 14) throw new Error(`${name} takes 16 bytes, got ${rest.length + 2}`)
        w.bytes([first, second, ...rest].map(Number))
        break
      case 'i32':
        w.s32(Number(first))
        break
      case 'i64':
        if (typeof first === 'number' && (first | 0) === first) w.s32(first)
        else w.s64(BigInt(first))
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

  i32(value: number): this {
    return this.op('i32.const', value)
  }

  i64(value: bigint | number): this {
    return this.op('i64.const', value)
  }

  #indexed(code: number, index: number): this {
    this.#code.u8(code)
    this.#code.u32(index)
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

  /** Local declarations and code, as the code section wants them. */
  finish(): ByteWriter {
    if (this.#scopes.length !== 0) throw new Error(`${this.#scopes.length} blocks are still open`)
    const body = this.#declarations()
    body.bytes(this.#code.view())
    body.u8(0x0b)
    return body
  }

  #declarations(): ByteWriter {
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
    return body
  }
}
