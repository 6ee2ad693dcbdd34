/** virtio-blk with a real driver and file system: writes reach the file, survive a second boot, and discard works. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import type { DiskOptions } from '#machine/config.ts'
import type { Machine } from '#machine/machine.ts'
import { BOOT_TIMEOUT_MS, PROMPT, createTestMachine } from './node-machine.ts'

const DISK_BYTES = 16 * 1048576
let folder: string
let disk: string
let machine: Machine | undefined

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'webkvm-disk-'))
  disk = path.join(folder, 'disk.img')
  writeFileSync(disk, new Uint8Array(DISK_BYTES))
})
afterEach(() => machine?.stop())
afterAll(() => rmSync(folder, { recursive: true }))

async function boot(options: DiskOptions): Promise<Machine> {
  machine = await createTestMachine({ disks: [options], cpus: 1 })
  machine.start()
  await machine.console.waitForText(PROMPT, { timeoutMs: BOOT_TIMEOUT_MS })
  return machine
}

describe('a disk image in a file', () => {
  test('has the size of the file and the given serial number', async () => {
    const { shell } = await boot({ source: disk, serial: 'scratch-1' })
    expect(await shell.check('cat /sys/block/vda/size')).toBe(`${DISK_BYTES / 512}\n`)
    expect(await shell.check('cat /sys/block/vda/serial')).toMatch(/^scratch-1/)
  })

  test('takes a file system whose contents are there at the next boot', async () => {
    const first = await boot({ source: disk })
    await first.shell.check('mke2fs -q /dev/vda && mount -t ext2 /dev/vda /mnt || mount /dev/vda /mnt')
    await first.shell.check('seq 1 20000 > /mnt/numbers && sync && umount /mnt')
    await first.stop()

    const second = await boot({ source: disk })
    await second.shell.check('mount -t ext2 /dev/vda /mnt || mount /dev/vda /mnt')
    expect(await second.shell.check('md5sum < /mnt/numbers')).toBe(
      await second.shell.check('seq 1 20000 | md5sum'),
    )
  })

  test('discards and zeroes what the guest asks for', async () => {
    writeFileSync(disk, new Uint8Array(DISK_BYTES).fill(0xaa))
    const { shell } = await boot({ source: disk })
    await shell.check('blkdiscard -o 1048576 -l 1048576 /dev/vda && sync')
    const bytes = readFileSync(disk)
    expect(bytes.subarray(1048576, 2 * 1048576).every((byte) => byte === 0)).toBe(true)
    expect(bytes[1048575]).toBe(0xaa)
    expect(bytes[2 * 1048576]).toBe(0xaa)
  })

  test('stays untouched under an overlay, and refuses writes when read-only', async () => {
    writeFileSync(disk, new Uint8Array(DISK_BYTES).fill(0x55))
    const overlay = await boot({ source: disk, mode: 'overlay' })
    await overlay.shell.check('dd if=/dev/zero of=/dev/vda bs=4096 count=64 conv=fsync 2>/dev/null')
    expect(await overlay.shell.check('head -c 262144 /dev/vda | tr -d "\\000" | wc -c')).toBe('0\n')
    await overlay.stop()
    expect(readFileSync(disk).every((byte) => byte === 0x55)).toBe(true)

    const readonly = await boot({ source: disk, readonly: true })
    expect(await readonly.shell.check('cat /sys/block/vda/ro')).toBe('1\n')
    expect(
      (await readonly.shell.run('dd if=/dev/zero of=/dev/vda bs=4096 count=1 2>/dev/null')).status,
    ).not.toBe(0)
  })
})
