/** The process's terminal as the machine's console. */
import type { Machine } from '#machine/machine.ts'

/** Ctrl-A x ends the machine, as in QEMU's -nographic; Ctrl-C goes to the guest. */
const ESCAPE = 0x01
const QUIT = 0x78

/** Connects stdin and stdout to the console; returns what restores the terminal. */
export function connectTerminal(machine: Machine): () => void {
  const { stdin, stdout } = process
  const stopOutput = machine.console.onOutput((bytes) => stdout.write(Uint8Array.from(bytes)))
  let escaped = false
  const onData = (data: Buffer): void => {
    const kept: number[] = []
    for (const byte of data) {
      if (escaped) {
        escaped = false
        if (byte === QUIT) return void machine.stop()
        kept.push(byte)
      } else if (byte === ESCAPE && stdin.isTTY) escaped = true
      else kept.push(byte)
    }
    machine.console.send(Uint8Array.from(kept))
  }
  const resize = (): void => machine.resizeConsole(stdout.columns, stdout.rows)
  if (stdin.isTTY) stdin.setRawMode(true)
  // A terminal that went away must end the machine, not hang it.
  const onLost = (): void => void machine.stop()
  stdout.on('error', onLost)
  stdin.on('data', onData)
  if (stdin.isTTY) stdin.on('end', onLost)
  if (stdout.isTTY) {
    resize()
    stdout.on('resize', resize)
  }
  return () => {
    stopOutput()
    stdin.off('data', onData)
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.pause()
    stdout.off('resize', resize)
  }
}
