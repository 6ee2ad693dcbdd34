import { spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { layerFault } from './layers.mjs'

const ROOT_DIR = path.resolve(import.meta.dirname, '../../..')

/** Files that break one rule each, by the rule that has to say so. */
const VIOLATIONS = [
  { rule: 'webkvm(layers)', file: 'src/isa/planted.ts', text: `export { x } from '#engine/x.ts'` },
  {
    rule: 'webkvm(layers)',
    file: 'src/engine/planted.ts',
    text: `import { x } from '#hub/x.ts'\nexport const y = x`,
  },
  {
    rule: 'webkvm(layers)',
    file: 'src/virtio/planted.ts',
    text: `export const load = () => import('../isa/x.ts')`,
  },
  { rule: 'webkvm(layers)', file: 'src/hub/planted.ts', text: `export * from '../devices/x.ts'` },
  {
    rule: 'webkvm(layers)',
    file: 'src/devices/planted.ts',
    text: `import fs from 'node:fs'\nexport const x = fs`,
  },
  {
    rule: 'webkvm(layers)',
    file: 'src/hub/planted-ui.ts',
    text: `import { Terminal } from '@xterm/xterm'\nexport const x = Terminal`,
  },
  {
    rule: 'eslint(no-restricted-globals)',
    file: 'src/machine/planted.ts',
    text: `export const title = () => document.title`,
  },
  {
    rule: 'eslint(no-unused-vars)',
    file: 'src/base/planted.ts',
    text: `const unused = 1\nexport const used = 2`,
  },
] as const

describe('the lint gate', () => {
  let dir: string

  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'lint-gate-'))
    for (const file of ['.oxlintrc.json', 'tsconfig.json', 'src/cli/lint/layers.mjs']) {
      cpSync(path.join(ROOT_DIR, file), path.join(dir, file))
    }
    symlinkSync(path.join(ROOT_DIR, 'node_modules'), path.join(dir, 'node_modules'))
  })

  afterEach(() => rmSync(dir, { recursive: true }))

  test.each(VIOLATIONS)('rejects $file by $rule', ({ rule, file, text }) => {
    plant(dir, file, text)
    const { status, output } = lint(dir)
    expect(output).toContain(rule)
    expect(output).toContain(file)
    expect(status).not.toBe(0)
  })

  test('rejects an import cycle', () => {
    plant(dir, 'src/base/one.ts', `import { two } from './two.ts'\nexport const one = () => two`)
    plant(dir, 'src/base/two.ts', `import { one } from './one.ts'\nexport const two = () => one`)
    expect(lint(dir).output).toContain('import(no-cycle)')
  })

  test('passes a tree without violations', () => {
    plant(dir, 'src/base/bits.ts', 'export const KIB = 1024')
    plant(dir, 'src/hub/hub.ts', `import { KIB } from '#base/bits.ts'\nexport const PAGE_BYTES = 4 * KIB`)
    expect(lint(dir)).toEqual({ status: 0, output: '' })
  })
})

describe('layerFault', () => {
  test.each([
    ['src/isa/rows/add.ts', '../emit.ts'],
    ['src/engine/run.ts', '#isa/emit.ts'],
    ['src/kernel/mmu.ts', '../abi/layout.ts'],
    ['src/host/node/disk.ts', 'node:fs'],
    ['src/devices/rtc.test.ts', '#testkit/clock.ts'],
    ['src/ui/terminal.ts', '@xterm/xterm/css/xterm.css'],
  ])('%s may import %s', (file, specifier) => {
    expect(layerFault(file, specifier)).toBeUndefined()
  })

  test.each([
    ['src/kernel/mmu.ts', '../isa/row.ts'],
    ['src/hub/hub.ts', '#testkit/clock.ts'],
    ['src/hub/hub.ts', './hub.test.ts'],
    ['src/devices/rtc.ts', '#host/clock.ts'],
    ['src/unheard/of.ts', '#base/bits.ts'],
  ])('%s may not import %s', (file, specifier) => {
    const other = specifier.endsWith('.test.ts') ? '../devices/rtc.test.ts' : specifier
    expect(layerFault(file, other)).toBeTypeOf('string')
  })

  // oxlint cannot parse AssemblyScript's decorators on functions, so the kernel's imports are checked here.
  test('kernel sources import only the kernel and abi', () => {
    const kernel = path.join(ROOT_DIR, 'src/kernel')
    const files = readdirSync(kernel, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    )
    const faults = files.flatMap((file) => {
      const imports = readFileSync(path.join(kernel, file), 'utf8').matchAll(
        /^(?:(?:import|export)\b.*|\}) from '(?<from>[^']+)'/gmu,
      )
      return [...imports]
        .map((found) => layerFault(`src/kernel/${file}`, found.groups?.['from'] ?? ''))
        .filter(Boolean)
    })
    expect(faults).toEqual([])
    expect(files.length).toBeGreaterThan(0)
  })
})

function plant(dir: string, file: string, text: string): void {
  mkdirSync(path.join(dir, path.dirname(file)), { recursive: true })
  writeFileSync(path.join(dir, file), `${text}\n`)
}

function lint(dir: string): { status: number | null; output: string } {
  const command = path.join(ROOT_DIR, 'node_modules/.bin/oxlint')
  const done = spawnSync(command, ['--format', 'unix'], { cwd: dir, encoding: 'utf8' })
  return { status: done.status, output: done.stdout.trim() }
}
