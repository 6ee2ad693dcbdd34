/** QEMU's TCG as a native process on the same machine. */
import { spawn } from 'node:child_process'

import { cpuSecondsOf } from '../processes.ts'
import { ConsoleLog } from './peer.ts'
import type { BootImage, Peer } from './peer.ts'

export async function bootQemu(image: BootImage): Promise<Peer> {
  const started = performance.now()
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ['-accel', 'tcg,thread=multi'],
      ['-cpu', 'max'],
      ['-smp', String(image.cpus)],
      ['-m', String(image.memoryMiB)],
      ['-kernel', image.kernel],
      ['-initrd', image.initrd],
      ['-append', image.append],
      image.disks.flatMap((file) => ['-drive', `file=${file},format=raw,if=virtio,readonly=on`]),
      ['-nodefaults', '-display', 'none', '-serial', 'stdio', '-no-reboot'],
    ].flat(),
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const console = new ConsoleLog()
  qemu.stdout.on('data', (data: Buffer) => console.add(data.toString('latin1')))
  try {
    await console.wait(image.prompt, 180_000, 0)
  } catch (error) {
    qemu.kill('SIGKILL')
    throw error
  }
  return {
    bootMs: performance.now() - started,
    cpuMs: () => (qemu.pid === undefined ? 0 : cpuSecondsOf(qemu.pid) * 1000),
    run(command, done, timeoutMs) {
      const output = console.wait(done, timeoutMs)
      qemu.stdin.write(`${command}\n`)
      return output
    },
    async close() {
      qemu.kill('SIGKILL')
      await new Promise((resolve) => qemu.once('exit', resolve))
    },
  }
}
