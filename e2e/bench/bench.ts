/** npm run bench: measurements of webkvm beside its peers, on this machine, in one run. HELP in options.ts says which. */
import process from 'node:process'

import { compareFiles } from './compare.ts'
import { kernelNames } from './kernels.ts'
import { measure } from './measure.ts'
import { HELP, UsageError, parseOptions } from './options.ts'
import type { Options } from './options.ts'
import { PROGRAMS } from './programs.ts'

function list(): void {
  for (const line of kernelNames()) console.log(line)
  for (const { name } of PROGRAMS) console.log(`${name} programs`)
}

async function main(options: Options): Promise<void> {
  switch (options.command) {
    case 'help':
      return console.log(HELP)
    case 'list':
      return list()
    case 'compare':
      return compareFiles(options.argument)
    case 'measure':
      return measure(options)
    case 'boot':
      return (await import('./boot.ts')).measureBoot(options)
    case 'profile':
      return (await import('./profile.ts')).profile(options)
    case 'pauses':
      return (await import('./pauses.ts')).measurePauses(options)
    case 'soak':
      return (await import('./soak.ts')).soak(options)
  }
}

try {
  await main(parseOptions(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`${error.message}\n\n${HELP}`)
  process.exitCode = 2
}
