/**
 * Writer for a WebAssembly module (core specification 2.0, "Binary Format"): types, imports, functions, one or more
 * tables, globals, exports, active elements, code, names. Function indices count imports first, so all imports must be
 * declared before the first function. Deliberately absent: data segments, start function, memory definitions: our
 * modules import the one shared memory.
 */
import { ByteWriter } from './bytes.ts'
import { CodeBuilder, VALUE_TYPE_CODE } from './code.ts'
import type { ValueType } from './code.ts'

export interface FunctionType {
  readonly params: readonly ValueType[]
  readonly results: readonly ValueType[]
}

interface FunctionBody {
  readonly type: number
  readonly name: string | undefined
  readonly code: CodeBuilder
}

const FUNCREF = 0x70

export class ModuleBuilder {
  readonly #types: FunctionType[] = []
  readonly #typeIndices = new Map<string, number>()
  readonly #imports = new ByteWriter()
  #importCount = 0
  #importedFunctions = 0
  #importedTables = 0
  readonly #importNames: string[] = []
  readonly #functions: FunctionBody[] = []
  readonly #tables: { size: number }[] = []
  readonly #globals: { type: ValueType; mutable: boolean; initial: number | bigint }[] = []
  readonly #exports: { name: string; kind: number; index: number }[] = []
  readonly #elements: { table: number; offset: number; functions: readonly number[] }[] = []

  type(params: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${params.join(' ')}->${results.join(' ')}`
    const known = this.#typeIndices.get(key)
    if (known !== undefined) return known
    this.#types.push({ params, results })
    this.#typeIndices.set(key, this.#types.length - 1)
    return this.#types.length - 1
  }

  // --- imports ---

  importFunction(
    module: string,
    name: string,
    params: readonly ValueType[],
    results: readonly ValueType[],
  ): number {
    if (this.#functions.length > 0) throw new Error(`import ${module}.${name} after the first function`)
    this.#imports.name(module)
    this.#imports.name(name)
    this.#imports.u8(0)
    this.#imports.u32(this.type(params, results))
    this.#importCount++
    this.#importNames.push(name)
    return this.#importedFunctions++
  }

  /** Shared memory with bounds in 64 KiB pages. */
  importSharedMemory(module: string, name: string, minimum: number, maximum: number): void {
    this.#imports.name(module)
    this.#imports.name(name)
    this.#imports.u8(2)
    this.#imports.u8(3)
    this.#imports.u32(minimum)
    this.#imports.u32(maximum)
    this.#importCount++
  }

  importTable(module: string, name: string, minimum: number): number {
    if (this.#tables.length > 0) throw new Error(`import ${module}.${name} after the first table`)
    this.#imports.name(module)
    this.#imports.name(name)
    this.#imports.u8(1)
    this.#imports.u8(FUNCREF)
    this.#imports.u8(0)
    this.#imports.u32(minimum)
    this.#importCount++
    return this.#importedTables++
  }

  // --- definitions ---

  /** Declares a function; its body may follow later through the builder that is returned. */
  function(
    params: readonly ValueType[],
    results: readonly ValueType[],
    name?: string,
  ): { readonly index: number; readonly code: CodeBuilder } {
    const code = new CodeBuilder(params.length)
    this.#functions.push({ type: this.type(params, results), name, code })
    return { index: this.#importedFunctions + this.#functions.length - 1, code }
  }

  /** As function(), with a body that was written before the imports were known. */
  addFunction(
    params: readonly ValueType[],
    results: readonly ValueType[],
    code: CodeBuilder,
    name?: string,
  ): number {
    this.#functions.push({ type: this.type(params, results), name, code })
    return this.#importedFunctions + this.#functions.length - 1
  }

  table(size: number): number {
    this.#tables.push({ size })
    return this.#importedTables + this.#tables.length - 1
  }

  global(type: ValueType, mutable: boolean, initial: number | bigint): number {
    this.#globals.push({ type, mutable, initial })
    return this.#globals.length - 1
  }

  elements(table: number, offset: number, functions: readonly number[]): void {
    this.#elements.push({ table, offset, functions })
  }

  exportFunction(name: string, index: number): void {
    this.#exports.push({ name, kind: 0, index })
  }

  exportTable(name: string, index: number): void {
    this.#exports.push({ name, kind: 1, index })
  }

  // --- output ---

  #typeSection(): ByteWriter {
    const w = new ByteWriter()
    w.u32(this.#types.length)
    for (const { params, results } of this.#types) {
      w.u8(0x60)
      for (const list of [params, results]) {
        w.u32(list.length)
        for (const type of list) w.u8(VALUE_TYPE_CODE[type])
      }
    }
    return w
  }

  #globalSection(): ByteWriter {
    const w = new ByteWriter()
    w.u32(this.#globals.length)
    for (const { type, mutable, initial } of this.#globals) {
      w.u8(VALUE_TYPE_CODE[type])
      w.u8(mutable ? 1 : 0)
      const value = new CodeBuilder(0)
      value.op(`${type}.const`, initial)
      w.bytes(value.expression())
    }
    return w
  }

  #elementSection(): ByteWriter {
    const w = new ByteWriter()
    w.u32(this.#elements.length)
    for (const { table, offset, functions } of this.#elements) {
      w.u32(table === 0 ? 0 : 2)
      if (table !== 0) w.u32(table)
      w.u8(0x41)
      w.s32(offset)
      w.u8(0x0b)
      if (table !== 0) w.u8(0)
      w.u32(functions.length)
      for (const index of functions) w.u32(index)
    }
    return w
  }

  #nameSection(): ByteWriter {
    const names = new ByteWriter()
    const all = [...this.#importNames, ...this.#functions.map((f) => f.name ?? '')]
    names.u32(all.filter((name) => name !== '').length)
    for (const [index, name] of all.entries()) {
      if (name === '') continue
      names.u32(index)
      names.name(name)
    }
    const w = new ByteWriter()
    w.name('name')
    w.u8(1) // function names
    w.sized(names)
    return w
  }

  #hintSection(): ByteWriter | undefined {
    const hinted = this.#functions.flatMap(({ code }, i) => {
      const hints = code.hints()
      return hints ? [{ index: this.#importedFunctions + i, hints }] : []
    })
    if (hinted.length === 0) return undefined
    const w = new ByteWriter()
    w.name('metadata.code.branch_hint')
    w.u32(hinted.length)
    for (const { index, hints } of hinted) {
      w.u32(index)
      w.bytes(hints.view())
    }
    return w
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    const size = this.#functions.reduce((sum, { code }) => sum + code.size, 0) + this.#functions.length * 64
    const out = new ByteWriter(size + 4096)
    out.bytes([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
    const section = (id: number, body: ByteWriter): void => {
      out.u8(id)
      out.sized(body)
    }
    const list = <T>(items: readonly T[], write: (w: ByteWriter, item: T) => void): ByteWriter => {
      const w = new ByteWriter()
      w.u32(items.length)
      for (const item of items) write(w, item)
      return w
    }
    section(1, this.#typeSection())
    if (this.#importCount > 0) {
      const w = new ByteWriter()
      w.u32(this.#importCount)
      w.bytes(this.#imports.view())
      section(2, w)
    }
    section(
      3,
      list(this.#functions, (w, f) => w.u32(f.type)),
    )
    if (this.#tables.length > 0) {
      section(4, list(this.#tables, (w, { size }) => {
        w.u8(FUNCREF)
        w.u8(1)
        w.u32(size)
        w.u32(size)
      })) // prettier-ignore
    }
    if (this.#globals.length > 0) section(6, this.#globalSection())
    section(7, list(this.#exports, (w, { name, kind, index }) => {
      w.name(name)
      w.u8(kind)
      w.u32(index)
    })) // prettier-ignore
    if (this.#elements.length > 0) section(9, this.#elementSection())
    const hints = this.#hintSection()
    if (hints) section(0, hints) // in front of the code that it speaks of
    const code = new ByteWriter(size)
    code.u32(this.#functions.length)
    for (const f of this.#functions) f.code.finish(code)
    section(10, code)
    section(0, this.#nameSection())
    return out.toBytes()
  }
}
