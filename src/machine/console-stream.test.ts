import { describe, expect, test } from 'vitest'

import { ConsoleStream, WaitError } from './console-stream.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('ConsoleStream', () => {
  test('finds text that came before the wait began', async () => {
    const stream = new ConsoleStream('com1')
    stream.receive(bytes('login: '))
    await expect(stream.waitForText('login:')).resolves.toMatchObject({ text: 'login:' })
  })

  test('does not match the same output twice', async () => {
    const stream = new ConsoleStream('com1')
    stream.receive(bytes('# '))
    await stream.waitForText('# ')
    await expect(stream.waitForText('# ', { timeoutMs: 20 })).rejects.toThrow(WaitError)
  })

  test('knows whether a wait has found something since the last reset', async () => {
    const stream = new ConsoleStream('com1')
    stream.receive(bytes('# '))
    expect(stream.matched).toBe(false)
    await stream.waitForText('# ')
    expect(stream.matched).toBe(true)
    stream.receive(bytes('Restarting'))
    stream.skipOutput()
    expect(stream.matched).toBe(false)
  })

  test('matches across pieces, with groups', async () => {
    const stream = new ConsoleStream('com1')
    const wait = stream.waitForText(/cpus=(\d+)\n/)
    stream.receive(bytes('cp'))
    stream.receive(bytes('us=2'))
    stream.receive(bytes('\n'))
    await expect(wait).resolves.toMatchObject({ groups: ['2'] })
  })

  test('keeps a multi-byte character whole when it arrives in two pieces', async () => {
    const stream = new ConsoleStream('com1')
    const euro = bytes('€')
    stream.receive(euro.subarray(0, 1))
    stream.receive(euro.subarray(1))
    expect(stream.output).toBe('€')
  })

  test('close fails a wait and says what was last seen', async () => {
    const stream = new ConsoleStream('com1')
    stream.receive(bytes('panic: no init\n'))
    const wait = stream.waitForText('login')
    stream.close('the machine stopped')
    await expect(wait).rejects.toThrow(/machine stopped[\s\S]*panic: no init/)
  })

  test('delivers input sent before a device was connected', () => {
    const stream = new ConsoleStream('com1')
    const seen: number[] = []
    stream.send('ab')
    stream.connect((input) => seen.push(...input))
    stream.send(Uint8Array.of(3))
    expect(seen).toEqual([97, 98, 3])
  })
})
