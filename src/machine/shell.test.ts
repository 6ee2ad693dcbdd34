import { describe, expect, test } from 'vitest'

import { ConsoleStream } from './console-stream.ts'
import { Shell } from './shell.ts'

/** Plays a shell that echoes its input and answers every line with fixed output. */
function fakeShell(reply: string, status: number): ConsoleStream {
  const stream = new ConsoleStream('com1')
  stream.connect((input) => {
    const line = new TextDecoder().decode(input)
    const id = /"wk""begin:(\d+)"/.exec(line)?.[1]
    const answer = `\u001b[6n# ${line.replaceAll('\n', '\r\n')}wkbegin:${id}\r\n${reply}wkend:${status}:${id}\r\n# `
    stream.receive(new TextEncoder().encode(answer))
  })
  return stream
}

describe('Shell', () => {
  test('returns the output without echo, prompt and escape sequences', async () => {
    const shell = new Shell(fakeShell('\u001b[1m2\u001b[0m\r\n', 0))
    await expect(shell.run('nproc')).resolves.toEqual({ output: '2\n', status: 0 })
  })

  test('keeps output that does not end in a line feed', async () => {
    const shell = new Shell(fakeShell('serial-1', 0))
    await expect(shell.run('cat serial')).resolves.toEqual({ output: 'serial-1', status: 0 })
  })

  test('quotes the command so that quotes in it survive', async () => {
    const stream = new ConsoleStream('com1')
    let sent = ''
    stream.connect((input) => (sent += new TextDecoder().decode(input)))
    const wait = new Shell(stream).run("echo 'a b'", { timeoutMs: 10 })
    await expect(wait).rejects.toThrow()
    expect(sent).toContain(String.raw`eval 'echo '\''a b'\'''`)
  })

  test('reports the exit status', async () => {
    const shell = new Shell(fakeShell('', 7))
    await expect(shell.run('false')).resolves.toEqual({ output: '', status: 7 })
  })

  test('check throws with the output of a failed command', async () => {
    const shell = new Shell(fakeShell('no such file\r\n', 1))
    await expect(shell.check('cat x')).rejects.toThrow(/status 1: cat x\nno such file/)
  })
})
