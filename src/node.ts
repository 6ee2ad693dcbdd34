/** The Node side of webkvm: createNodeHost() gives createMachine() its threads, files and clock. */
export { createMachine } from '#machine/create.ts'
export { createNodeHost } from '#host/node/node-host.ts'
export type { NodeHostOptions } from '#host/node/node-host.ts'
