import { describe, expect, test } from 'vitest'

import { ConsoleStream } from './console-stream.ts'
import { Shell } from './shell.ts'

/** Plays a shell that echoes its input line by line and answers with fixed output. */
function fakeShell(reply: string, status: number): ConsoleStream {
  const stream = new ConsoleStream('com1')
  stream.connect((input) => {
    for (const line of new TextDecoder().decode(input).split('\n').filter((text) => text !== '')) {
      stream.receive(new TextEncoder().encode(`\u001b[6n# ${line}\r\n`))
      const begin = /"wk""begin:(\d+)"/.exec(line)
      const end = /"wk""end:\$\?:(\d+)"/.exec(line)
      if (begin) stream.receive(new TextEncoder().encode(`wkbegin:${begin[1]}\r\n${reply}`))
      if (end) stream.receive(new TextEncoder().encode(`wkend:${status}:${end[1]}\r\n`))
    }
  })
  return stream
}

describe('Shell', () => {
  test('returns the output without echo, prompt and escape sequences', async () => {
    const shell = new Shell(fakeShell('\u001b[1m2\u001b[0m\r\n', 0))
    await expect(shell.run('nproc')).resolves.toEqual({ output: '2\n', status: 0 })
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
