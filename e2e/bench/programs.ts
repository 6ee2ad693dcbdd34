/** Programs of a Debian userland on fixed work, in the large guest. */
import { SCRIPTS_IN_GUEST } from './guest-image.ts'
import type { Job } from './kernels.ts'
import type { Options } from './options.ts'
import type { Peer } from './peer.ts'

interface Program {
  readonly name: string
  /** Shell words; what it prints is part of the result. */
  readonly command: string
  readonly quick?: boolean
}

const TEXT = '/tmp/text'
const SHORT_TEXT = '/tmp/short'
const KEY = '000102030405060708090a0b0c0d0e0f'
/** A prime of 1024 bits: 2^1024 - 105. */
const PRIME = `${'F'.repeat(254)}97`

const script = (name: string): string => `${SCRIPTS_IN_GUEST}/${name}`
const pipeline = (text: string): string => `sh -c "${text}"`

export const PROGRAMS: readonly Program[] = [
  { name: 'python-json', command: `python3 ${script('json_load.py')}`, quick: true },
  { name: 'python-regex', command: `python3 ${script('regex.py')}` },
  { name: 'python-nbody', command: `python3 ${script('nbody.py')}` },
  { name: 'python-dicts', command: `python3 ${script('dicts.py')}` },
  {
    name: 'python-start',
    command: pipeline(`for i in 1 2 3 4 5; do python3 -c 'import json, re, os'; done`),
  },
  { name: 'gcc', command: `gcc -O2 -S -o - ${script('compile.c')}`, quick: true },
  {
    name: 'gcc-link',
    command: pipeline(`gcc -O1 -o /tmp/program ${script('compile.c')} && /tmp/program '1 + 2 * (3 - 4)'`),
  },
  {
    name: 'tcc',
    command: pipeline(`for i in 1 2 3 4 5 6 7 8; do tcc -c -o /tmp/t.o ${script('compile.c')}; done`),
  },
  { name: 'openssl-sha256', command: pipeline(`openssl dgst -sha256 -r < ${TEXT}`), quick: true },
  { name: 'openssl-md5', command: pipeline(`openssl dgst -md5 -r < ${TEXT}`) },
  {
    name: 'openssl-aes',
    command: pipeline(`openssl enc -aes-128-cbc -K ${KEY} -iv ${KEY} < ${TEXT} | openssl dgst -md5 -r`),
  },
  { name: 'openssl-prime', command: `openssl prime -checks 20 -hex ${PRIME}` },
  { name: 'gzip', command: pipeline(`gzip -9 -n < ${SHORT_TEXT}`), quick: true },
  { name: 'gunzip', command: pipeline(`gzip -dc /tmp/text.gz`) },
  { name: 'xz', command: pipeline(`xz -2 -T1 < ${SHORT_TEXT}`) },
  { name: 'zstd', command: pipeline(`zstd -q -9 --single-thread < ${SHORT_TEXT}`) },
  { name: 'sort', command: pipeline(`tr ' ' '\\n' < ${SHORT_TEXT} | LC_ALL=C sort | uniq -c`) },
  { name: 'awk', command: `gawk -f ${script('count.awk')} ${SHORT_TEXT}` },
  { name: 'grep', command: pipeline(`grep -cE 'virtual (machine|page).*[0-9]{4}' ${TEXT}`) },
  { name: 'bash', command: `bash ${script('loop.sh')}` },
  { name: 'bc', command: pipeline(`echo 'scale=700; 4*a(1)' | bc -l`) },
  { name: 'luajit', command: `luajit ${script('script.lua')}`, quick: true },
  { name: 'luajit-off', command: `luajit -joff ${script('script.lua')}` },
  { name: 'node', command: `node ${script('script.js')}` },
]

const PROGRAM_TIMEOUT_MS = 120_000

/** The files that programs read; reading them once also brings the programs' own pages into the guest's memory. */
export async function prepareGuest(peer: Peer): Promise<void> {
  const bench = script('bench')
  const commands = [
    `${bench} -t 12000000 > ${TEXT}`,
    `${bench} -t 2000000 > ${SHORT_TEXT}`,
    `gzip -1 -n < ${TEXT} > /tmp/text.gz`,
    'cat $(command -v luajit node python3 gcc openssl) /usr/lib/gcc/x86_64-linux-gnu/12/cc1 > /dev/null',
  ]
  await peer.run(`${commands.join('; ')}; echo prepare"d"`, 'prepared\r\n', PROGRAM_TIMEOUT_MS)
}

export function programJobs(options: Options): Job[] {
  const chosen = ({ name, quick }: Program): boolean =>
    options.kernels === undefined
      ? options.groups.has('programs') && (!options.quick || quick === true)
      : options.kernels.has(name)
  return PROGRAMS.filter(chosen).map(({ name, command }) => ({
    name,
    group: 'programs',
    command: `${script('bench')} -c ${name} ${command}`,
    done: 'bench-done\r\n',
  }))
}
