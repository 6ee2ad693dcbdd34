import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Decoder } from './decode.ts'
import { printInstruction } from './printer.ts'
import { samples, type Sample } from './testing-samples.ts'

/** One line per row: code size, bytes, what objdump -M intel printed. Written anew with WEBKVM_BLESS=1. */
const GOLDEN = new URL('printer.golden.txt', import.meta.url)
const decoder = new Decoder()
const hasObjdump = spawnSync('objdump', ['--version']).status === 0

/**
 * Rows whose spelling differs on purpose: objdump does not know the encoding (undocumented aliases, SALC, the parts of
 * the hint space that became MPX or CLDEMOTE), misreads it (PCLMULQDQ's immediate), or prints a 16-bit source register by the operand size.
 */
const DIFFERENT =
  /^(fn?(com|comp|stp|xch)_(st0_)?sti|f(neni|ndisi|nsetpm)|salc|nop_0f|mov_sreg_rm16|l(ar|sl)_rv|v?maskmov(dq|q)|v?lddqu|v?pclmulqdq|bswap|invpcid|invlpg|bound)/

/** Size suffixes, redundant-prefix names and pointer sizes that the two spell differently. */
function normalise(text: string): string {
  return text
    .toLowerCase()
    .replace(/\s+#.*$/, '')
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/^((data16|data32|addr16|addr32|rex\.\w+) )+/, '')
    .replace('movabs', 'mov')
    .replace('oword', 'xmmword')
    .replace(/\+[er]iz\*1/, '')
    .replace(
      /^(push|pop|enter|leave|call|ret|retf|jmp|pushf|popf|iret|sysret|sysexit|pusha|popa|[sl][gi]dt|fn?(?:ldenv|stenv|save|rstor)|frstor|fldenv)[wdq]\b/,
      '$1',
    )
    .replace(/^(v?pcmpestr[im])q\b/, '$1')
    .replace(/(fword|tbyte) ptr/, 'far ptr')
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function print(bytes: Uint8Array, bits: 16 | 32 | 64, address: bigint): string {
  const instruction = decoder.decode(bytes, { bits }, address)
  return typeof instruction === 'string' ? `(${instruction})` : printInstruction(instruction)
}

/** Distance of the samples in the disassembled file. */
const STRIDE = 32

function objdump(list: readonly Sample[], bits: 16 | 32 | 64): Map<number, string> {
  const image = new Uint8Array(list.length * STRIDE).fill(0x90)
  list.forEach(({ bytes }, i) => image.set(bytes, i * STRIDE))
  const folder = mkdtempSync(join(tmpdir(), 'webkvm-objdump-'))
  const file = join(folder, 'image')
  writeFileSync(file, image)
  const machine = { 64: 'i386:x86-64', 32: 'i386', 16: 'i8086' }[bits]
  const options = ['-D', '-b', 'binary', '-m', machine, '-M', 'intel', '-w', '-z', file]
  const text = execFileSync('objdump', options, { maxBuffer: 1 << 28, encoding: 'utf8' })
  rmSync(folder, { recursive: true })
  const found = new Map<number, string>()
  for (const line of text.split('\n')) {
    const parts = /^\s*([0-9a-f]+):\t([0-9a-f ]+)\t(.*)$/.exec(line)
    if (parts)
      found.set(
        parseInt(parts[1] ?? '', 16),
        `${(parts[2] ?? '').trim().split(' ').length} ${normalise(parts[3] ?? '')}`,
      )
  }
  return found
}

describe('printer', () => {
  it.skipIf(process.env['WEBKVM_BLESS'] !== '1')('writes its golden lines anew', () => {
    const lines: string[] = []
    const seen = new Set<string>()
    for (const bits of [64, 32, 16] as const) {
      // each row once, in 64-bit code where it exists there; every ninth again in 16-bit code
      const list = samples(7).filter((s, i) => {
        if (s.bits !== bits || DIFFERENT.test(s.row.id)) return false
        const key = `${s.row.id}/${bits === 16 && i % 9 === 0 ? 16 : ''}`
        const wanted = !seen.has(key) && (i % 3 === 0 || s.row.widths.length === 1)
        if (wanted) seen.add(key)
        return wanted
      })
      const printed = objdump(list, bits)
      // branch targets depend on the address: lines say where they stood
      list.forEach(({ bytes }, i) => {
        lines.push(
          `${bits} ${(i * STRIDE).toString(16)} ${hex(bytes)} ${(printed.get(i * STRIDE) ?? '').replace(/^\d+ /, '')}`,
        )
      })
    }
    writeFileSync(GOLDEN, `${lines.join('\n')}\n`)
    expect(lines.length).toBeGreaterThan(900)
  })

  it('prints what objdump printed', () => {
    const lines = readFileSync(GOLDEN, 'utf8').trim().split('\n')
    const wrong = lines.filter((line) => {
      const [bits, address, bytes, ...text] = line.split(' ')
      const printed = print(
        Buffer.from(bytes ?? '', 'hex'),
        Number(bits) as 16 | 32 | 64,
        BigInt(`0x${address}`),
      )
      return normalise(printed) !== text.join(' ')
    })
    expect(wrong).toEqual([])
    expect(lines.length).toBeGreaterThan(900)
  })

  it.skipIf(!hasObjdump).each([64, 32, 16] as const)(
    'agrees with objdump on every row, width and form in %i-bit code',
    (bits) => {
      const list = samples(11).filter((s) => s.bits === bits && !DIFFERENT.test(s.row.id))
      const printed = objdump(list, bits)
      const wrong = list.flatMap(({ bytes }, i) => {
        const ours = `${bytes.length} ${normalise(print(bytes, bits, BigInt(i * STRIDE)))}`
        const theirs = printed.get(i * STRIDE)
        return ours === theirs ? [] : [`${hex(bytes)}: ${ours}, objdump ${theirs}`]
      })
      expect(wrong).toEqual([])
      expect(list.length).toBeGreaterThan(1200)
    },
  )
})

describe('decode', () => {
  it('gives back the row, width and form that were encoded', () => {
    const wrong = samples(3).flatMap(({ row, width, bits, memory, bytes }) => {
      const got = decoder.decode(bytes, { bits })
      const fine =
        typeof got !== 'string' &&
        (got.row.id === row.id || (row.alias && got.row.mnemonic !== '')) &&
        got.length === bytes.length &&
        (row.alias || got.width === width) &&
        (got.memory !== undefined) === memory
      return fine
        ? []
        : [`${bits} ${hex(bytes)} ${row.id}/${width}: ${typeof got === 'string' ? got : got.row.id}`]
    })
    expect(wrong).toEqual([])
  })

  it.each([
    ['f04801d8', 'invalid'], // LOCK with a register destination
    ['f0488b00', 'invalid'], // LOCK on a row without it
    ['06', 'invalid'], // PUSH ES in 64-bit code
    ['66c4e270f2c2', 'invalid'], // 66 in front of VEX
    ['40c4e270f2c2', 'invalid'], // REX in front of VEX
    ['c4e070f2c2', 'invalid'], // VEX map 0
    ['c4e2f8f7', 'truncated'],
    ['488b', 'truncated'],
    ['666666666666666666666666666690', 'nop'], // 15 bytes
    ['66666666666666666666666666666690', 'overlong'],
    ['66666666666666666666666666666648', 'overlong'],
    ['0f20c8', 'invalid'], // CR1
    ['440f21c0', 'invalid'], // DR8
    ['8ef0', 'invalid'], // segment register 6
    ['4166c1e004', 'shl ax,0x4'], // REX not next to the opcode is dropped
    ['64f3a4', 'rep movs BYTE PTR es:[rdi],BYTE PTR fs:[rsi]'],
    ['f348a7', 'repz cmps QWORD PTR ds:[rsi],QWORD PTR es:[rdi]'],
    ['f3480fb8c1', 'popcnt rax,rcx'],
    ['66f30fb8c1', 'popcnt ax,cx'],
    ['f390', 'pause'],
    ['f34190', 'xchg r8d,eax'],
    ['66e800000000', 'call 0x6'], // 66 does not shorten near branches in 64-bit code
  ])('%s in 64-bit code is %s', (bytes, text) => {
    const got = decoder.decode(Buffer.from(bytes, 'hex'), { bits: 64 })
    expect(typeof got === 'string' ? got : printInstruction(got)).toBe(text)
  })

  it('knows what exists only in protected mode and with a feature', () => {
    const lldt = Buffer.from('0f00d0', 'hex')
    expect(decoder.decode(lldt, { bits: 16, real: true })).toBe('invalid')
    expect(decoder.decode(lldt, { bits: 16 })).not.toBe('invalid')
    const tzcnt = decoder.decode(Buffer.from('f30fbcc1', 'hex'), {
      bits: 32,
      has: (feature) => feature !== 'bmi1',
    })
    expect(typeof tzcnt === 'string' ? tzcnt : tzcnt.row.id).toBe('bsf_rv_rmv')
  })
})
