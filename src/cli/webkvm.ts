#!/usr/bin/env node
/** The webkvm command. */
import { defineCommand, runMain } from 'citty'

import { runCommand } from './run.ts'

const main = defineCommand({
  meta: { name: 'webkvm', description: 'Virtual machines in WebAssembly: KVM and QEMU for the web platform' },
  subCommands: { run: runCommand },
})

await runMain(main)
