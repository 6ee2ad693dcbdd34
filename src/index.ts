/**
 * webkvm: virtual machines in a page or under Node.
 *
 *   import { createMachine, createBrowserHost } from 'webkvm'
 *   const machine = await createMachine({ kernel: '/vmlinux', initrd: '/initrd', append: 'console=ttyS0' }, createBrowserHost())
 *   machine.start()
 *   await machine.console.waitForText('login:')
 *
 * Under Node import createNodeHost from 'webkvm/node'; everything else is the same.
 */
export { createMachine } from '#machine/create.ts'
export { Machine } from '#machine/machine.ts'
export type { MachineEvents, MachineState, StateEvent } from '#machine/machine.ts'
export type { DiskOptions, ImageSource, LoadProgress, MachineOptions, TraceOptions } from '#machine/config.ts'
export { ConfigError } from '#machine/config.ts'
export { HostFeatureError, ImageError } from '#machine/host.ts'
export type { MachineHost } from '#machine/host.ts'
export { BootError } from '#firmware/boot.ts'
export { ConsoleStream, WaitError } from '#machine/console-stream.ts'
export type { TextMatch, WaitOptions } from '#machine/console-stream.ts'
export { Shell } from '#machine/shell.ts'
export type { CommandResult } from '#machine/shell.ts'
export type { MachineStats } from '#machine/stats.ts'
export type { BlockBackend } from '#devices/virtio-blk.ts'
export { createBrowserHost } from '#host/browser/browser-host.ts'
export { missingFeatures } from '#host/browser/features.ts'
