import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'
import { beforeAll, describe, expect, it } from 'vitest'
import { CPU_FEATURES, CPU_PCBASE, CPU_X87, CPU_XMM, CPU_ZERO, ISA_TABLES_BASE, MODE_CS16, MODE_CS32, MODE_CS64, MODE_FLAT, MODE_LMA, MODE_PE } from '#abi/layout.ts' // prettier-ignore
import * as rec from '#abi/record.ts'
import { Decoder, type CodeMode, type Instruction } from '#isa/decode.ts'
import { assignHandlers, HANDLER_GP, HANDLER_UD, type Form } from '#isa/handlers.ts'
import { isVsib } from '#isa/opcode.ts'
import { placeOf } from '#isa/row.ts'
import { ROWS } from '#isa/rows/index.ts'
import { compileTables, slotOf } from '#isa/tables.ts'
import { samples, Sequence } from '#isa/testing-samples.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const CPU = 0x10_0000
const CODE = 0x11_0000
const RECORD = 0x12_0000
const PAGE_OFFSET = 0x123
const PAGE_RIP = 0x40_0000n

interface Exports {
  bind(vm: number, cpu: number): void
  decode_one(code: number, avail: number, mode: number, pageOff: number, record: number): number
}

const handlers = assignHandlers(ROWS)
const decoder = new Decoder()
let kernel: Exports
let view: DataView
let bytes: Uint8Array

async function compile(): Promise<Uint8Array> {
  let binary: Uint8Array | undefined
  const entries = ['src/kernel/decoder.ts', 'src/kernel/state.ts']
  const memory = [
    '--importMemory',
    '--sharedMemory',
    '--initialMemory',
    '24',
    '--maximumMemory',
    '24',
    '--memoryBase',
    '65536',
  ]
  const options = [
    '--runtime',
    'stub',
    '--enable',
    'threads,simd,bulk-memory,relaxed-simd',
    '--noAssert',
    '-O1',
    '-o',
    'out.wasm',
  ]
  const { error } = await asc.main([...entries, ...memory, ...options], {
    readFile: (name) => readFile(ROOT + name, 'utf8').catch(() => null),
    writeFile: (name, contents) => {
      if (name.endsWith('.wasm')) binary = contents as Uint8Array
    },
    listFiles: () => [],
  })
  if (error !== null || !binary) throw error ?? new Error('asc wrote nothing')
  return binary
}

beforeAll(async () => {
  const memory = new WebAssembly.Memory({ initial: 24, maximum: 24, shared: true })
  const source = (await compile()) as Uint8Array<ArrayBuffer>
  const { instance } = await WebAssembly.instantiate(source, {
    env: { memory, abort: () => {} },
    host: { now: () => 0, kick: () => {}, wait: () => {} },
  })
  kernel = instance.exports as unknown as Exports
  bytes = new Uint8Array(memory.buffer)
  view = new DataView(memory.buffer)
  bytes.set(compileTables(ROWS, handlers), ISA_TABLES_BASE)
  bytes.fill(0xff, CPU + CPU_FEATURES, CPU + CPU_FEATURES + 32)
  kernel.bind(0, CPU)
}, 60_000)

const MODES = {
  64: MODE_CS64 | MODE_PE | MODE_LMA | MODE_FLAT,
  32: MODE_CS32 | MODE_PE | MODE_FLAT,
  16: MODE_CS16,
} as const

const codeMode = (bits: 16 | 32 | 64): CodeMode => ({ bits, real: bits === 16 })

function formOf(i: Instruction): Form {
  const places = i.row.operands.map(placeOf)
  const moffs = places.some((place) => place.startsWith('moffs'))
  if (!i.memory && !moffs && !places.includes('mbx')) return 'R'
  if (i.prefixes.lock || (i.row.mnemonic === 'xchg' && i.memory)) return 'L'
  const segment = i.prefixes.segment ?? 3
  const based = i.bits === 64 ? segment >= 4 : i.bits === 16 || segment >= 4 || segment === 1
  return moffs || based || i.memory?.index !== undefined || i.addressSize !== i.bits ? 'X' : 'M'
}

const gprOffset = (n: number): number => n * 8

/** What the record has to say, from the decoder for people. */
function expected(i: Instruction): Record<string, number | bigint> {
  const fields: Record<string, number | bigint> = {
    op: handlers.find(i.row, i.width, formOf(i)) ?? HANDLER_UD,
    len: i.length,
    off: PAGE_OFFSET,
    end: i.row.ends ? 1 : 0,
    base: CPU_ZERO,
    index: CPU_ZERO,
    asize: { 16: 0, 32: 1, 64: 2 }[i.addressSize],
  }
  const register = (place: string, n: number): number => {
    if (/^[xy]mm/.test(place)) return CPU_XMM + n * 64
    if (place.startsWith('mm')) return CPU_X87 + (n & 7) * 16
    if (place === 'sti') return n & 7
    if (/^([rRo]|rm)8$/.test(place) && n >= 4 && n < 8 && !i.prefixes.hasRex && !i.prefixes.vex)
      return gprOffset(n - 4) + 1
    return place === 'creg' || place === 'dreg' ? n : place === 'sreg' ? n & 7 : gprOffset(n)
  }
  for (const operand of i.row.operands) {
    const place = placeOf(operand)
    const slot = slotOf(place)
    if (slot === 'rm' && !i.memory) fields['rm'] = register(place, i.rm)
    if (slot === 'reg') fields['reg'] = register(place, i.reg)
    if (slot === 'vvvv') fields['vvvv'] = register(place, i.vvvv)
    if (slot === 'implied') fields['base'] = gprOffset(place === 'mdi' ? 7 : 3)
    if (place.endsWith('_is4')) fields['imm'] = BigInt(register(place, Number(i.immediates[0] ?? 0n)))
    else if (place.startsWith('rel')) fields['imm'] = i.immediates[0] ?? 0n
    else if (slot === 'imm')
      fields['imm'] ??= BigInt.asUintN(
        /^(immz|simm8)$/.test(place) && i.operandSize === 16 ? 16 : 64,
        i.immediates[0] ?? 0n,
      )
  }
  const { memory } = i
  if (memory) {
    const popped = i.row.id === 'pop_rmv' && memory.base === 4 ? i.width / 8 : 0
    fields['base'] =
      memory.base === 'rip' ? CPU_PCBASE : memory.base === undefined ? CPU_ZERO : gprOffset(memory.base)
    const vector = i.row.operands.some((operand) => isVsib(placeOf(operand)))
    fields['index'] =
      memory.index === undefined ? CPU_ZERO : vector ? register('xmm', memory.index) : gprOffset(memory.index)
    fields['scale'] = memory.index === undefined ? 0 : Math.log2(memory.scale)
    const wide = i.addressSize === 16 ? (memory.displacement << 16) >> 16 : memory.displacement
    fields['disp'] =
      memory.base === 'rip' ? (memory.displacement + PAGE_OFFSET + i.length) | 0 : wide + popped
  }
  return fields
}

function actual(i: Instruction, want: Record<string, number | bigint>): Record<string, number | bigint> {
  const target = i.row.operands.some((operand) => placeOf(operand).startsWith('rel'))
  const imm = view.getBigInt64(RECORD + rec.REC_IMM, true)
  const short = i.operandSize === 16 ? 16 : i.bits === 64 ? 64 : 32
  const all: Record<string, number | bigint> = {
    op: view.getUint16(RECORD + rec.REC_OP, true),
    len: view.getUint8(RECORD + rec.REC_LEN),
    off: view.getUint16(RECORD + rec.REC_OFF, true),
    end: view.getUint8(RECORD + rec.REC_FLAGS) & rec.RECF_END ? 1 : 0,
    rm: view.getUint16(RECORD + rec.REC_RM, true),
    reg: view.getUint16(RECORD + rec.REC_REG, true),
    vvvv: view.getUint16(RECORD + rec.REC_VVVV, true),
    base: view.getUint16(RECORD + rec.REC_BASE, true),
    index: view.getUint16(RECORD + rec.REC_INDEX, true),
    scale: view.getUint8(RECORD + rec.REC_SCALE),
    disp: view.getInt32(RECORD + rec.REC_DISP, true),
    asize: (view.getUint8(RECORD + rec.REC_SEG) >> rec.RECSEG_ASIZE_SHIFT) & 3,
    imm: target ? BigInt.asUintN(short, PAGE_RIP + imm) : BigInt.asUintN(64, imm),
  }
  return Object.fromEntries(Object.keys(want).map((key) => [key, all[key] ?? -1]))
}

/** One line per difference between the two decoders, undefined when they agree. */
function difference(code: Uint8Array, bits: 16 | 32 | 64): string | undefined {
  bytes.fill(0x90, CODE, CODE + 64)
  bytes.set(code, CODE)
  const padded = bytes.slice(CODE, CODE + 32)
  const length = kernel.decode_one(CODE, 4096, MODES[bits], PAGE_OFFSET, RECORD)
  const op = view.getUint16(RECORD + rec.REC_OP, true)
  const ours = decoder.decode(padded, codeMode(bits), PAGE_RIP + BigInt(PAGE_OFFSET))
  const where = `${bits} ${Buffer.from(padded.subarray(0, 15)).toString('hex')}`
  if (typeof ours === 'string') {
    const fault = ours === 'overlong' ? HANDLER_GP : HANDLER_UD
    return op === fault && length > 0 ? undefined : `${where}: ${ours}, kernel ${op}`
  }
  const want = expected(ours)
  const got = actual(ours, want)
  const keys = Object.keys(want).filter((key) => want[key] !== got[key])
  return keys.length
    ? `${where} ${ours.row.id}/${ours.width}: ${keys.map((k) => `${k} ${got[k]} not ${want[k]}`).join(', ')}`
    : undefined
}

describe('decode_one', () => {
  it.each([64, 32, 16] as const)(
    'writes what the rows say for every row, width and form in %i-bit code',
    (bits) => {
      const list = samples(5).filter((s) => s.bits === bits)
      expect(list.flatMap((s) => difference(s.bytes, bits) ?? [])).toEqual([])
    },
  )

  it.each([64, 32, 16] as const)('agrees with the other decoder on random bytes in %i-bit code', (bits) => {
    const sequence = new Sequence(bits + 1)
    const heads = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x0f, 0x0f, 0x48, 0x41, 0xc4, 0xc5, 0x2e, 0x64, 0x40]
    const wrong: string[] = []
    for (let n = 0; n < 30_000 && wrong.length < 10; n++) {
      const code = Uint8Array.from({ length: 18 }, () => sequence.below(256))
      for (let i = sequence.below(5); i > 0; i--) code[i - 1] = heads[sequence.below(heads.length)] ?? 0
      const line = difference(code, bits)
      if (line) wrong.push(line)
    }
    expect(wrong).toEqual([])
  })

  it('asks for more bytes at the end of a page and never reads behind them', () => {
    const code = [0x48, 0x81, 0x84, 0x88, 1, 2, 3, 4, 5, 6, 7, 8] // add qword [rax+rcx*4+disp32], imm32
    bytes.set(code, CODE)
    for (let avail = 1; avail < code.length; avail++)
      expect(kernel.decode_one(CODE, avail, MODES[64], 0, RECORD)).toBe(rec.DECODE_TRUNCATED)
    expect(kernel.decode_one(CODE, code.length, MODES[64], 0, RECORD)).toBe(code.length)
    const end = bytes.length - 3
    bytes.set([0x48, 0x01, 0xd8], end)
    expect(kernel.decode_one(end, 3, MODES[64], 0, RECORD)).toBe(3)
    expect(kernel.decode_one(end, 2, MODES[64], 0, RECORD)).toBe(rec.DECODE_TRUNCATED)
  })

  it('raises #GP for more than 15 bytes, before #UD', () => {
    bytes.fill(0x66, CODE, CODE + 20)
    expect(kernel.decode_one(CODE, 4096, MODES[64], 0, RECORD)).toBe(15)
    expect(view.getUint16(RECORD, true)).toBe(HANDLER_GP)
    expect(kernel.decode_one(CODE, 15, MODES[64], 0, RECORD)).toBe(15)
    expect(kernel.decode_one(CODE, 14, MODES[64], 0, RECORD)).toBe(rec.DECODE_TRUNCATED)
  })

  it('leaves out rows whose feature the model lacks', () => {
    const tzcnt = Uint8Array.of(0xf3, 0x0f, 0xbc, 0xc1)
    bytes.set(tzcnt, CODE)
    bytes.fill(0, CPU + CPU_FEATURES, CPU + CPU_FEATURES + 32)
    kernel.decode_one(CODE, 4096, MODES[64], 0, RECORD)
    const id = handlers.list.find((h) => h.id === view.getUint16(RECORD, true))?.row.id
    bytes.fill(0xff, CPU + CPU_FEATURES, CPU + CPU_FEATURES + 32)
    expect(id).toBe('bsf_rv_rmv')
  })
})
