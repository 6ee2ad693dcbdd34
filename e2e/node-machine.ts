/** Machines in the test's own process through the public API, for what the command line does not reach. */
import { readFileSync } from 'node:fs'
import path from 'node:path'

import type { GuestManifest } from '#host/guest-manifest.types.ts'
import type { MachineOptions } from '#machine/config.ts'
import type { Machine } from '#machine/machine.ts'
import { createMachine, createNodeHost } from '#node.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const GUEST = path.join(ROOT, '.cache/guests/default')

/** A machine with the default guest's kernel and initramfs; options replace parts of it. */
export function createTestMachine(options: MachineOptions = {}): Promise<Machine> {
  const manifest = JSON.parse(readFileSync(path.join(GUEST, 'manifest.json'), 'utf8')) as GuestManifest
  const boot = manifest.boots.find(({ id }) => id === 'default')
  if (boot === undefined) throw new Error('the default guest has no boot entry "default"')
  const defaults: MachineOptions = {
    kernel: path.join(GUEST, boot.kernel),
    initrd: path.join(GUEST, 'initrd.cpio'),
    append: boot.append,
    memory: '256M',
  }
  return createMachine({ ...defaults, ...options }, createNodeHost())
}

export const PROMPT = 'webkvm:~# '
export const BOOT_TIMEOUT_MS = 120_000
