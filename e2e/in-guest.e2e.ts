/**
 * Programs that check a CPU, in the larger guest whose disk the page reads by HTTP ranges: stress-ng's verified
 * methods, checksums that must equal the host's, Python's own tests of arithmetic, and a compiler whose output runs.
 */
import { createCipheriv, createHash } from 'node:crypto'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { openGuest } from '#playwright.ts'
import type { GuestPage } from '#playwright.ts'
import { launchChromium, openPage } from './chromium.ts'
import { kernelTrouble } from './kernel-log.ts'

let browser: Browser
let page: Page
let guest: GuestPage
/** Bytes of the disk image that the page has fetched. */
let fetchedBytes = 0

beforeAll(async () => {
  browser = await launchChromium()
  ;({ page } = await openPage(browser))
  page.on('response', (response) => {
    if (!response.url().endsWith('root.squashfs')) return
    expect(response.status()).toBe(206)
    fetchedBytes += Number(response.headers()['content-length'])
  })
  guest = await openGuest(page, { url: inject('pageUrl'), boot: 'large' })
  await guest.waitForPrompt(undefined, 180_000)
})
afterAll(() => browser?.close())

test('boots from a small part of its disk', () => {
  expect(fetchedBytes).toBeGreaterThan(1 << 20)
  expect(fetchedBytes).toBeLessThan(40 << 20)
})

describe('stress-ng --verify', () => {
  test('finds every CPU method right, on both vCPUs', async () => {
    // "all" goes to the next method at each operation; there are about 80.
    const output = await guest.check(
      'stress-ng --cpu 2 --cpu-method all --cpu-ops 180 --verify 2>&1',
      200_000,
    )
    expect(output).toMatch(/successful run completed/)
    expect(output).not.toMatch(/fail/i)
  })

  test.each([
    ['vectors', '--vecmath 1 --vecmath-ops 5 --vecwide 1 --vecwide-ops 5'],
    ['matrices and floating point', '--matrix 1 --matrix-ops 20 --fp 1 --fp-ops 20'],
    ['sorting and searching', '--qsort 1 --qsort-ops 1 --bsearch 1 --bsearch-ops 5'],
    [
      'strings and memory',
      '--str 1 --str-ops 20 --memcpy 1 --memcpy-ops 5 --vm 1 --vm-bytes 16M --vm-ops 500',
    ],
    ['hashes and checksums', '--hash 1 --hash-ops 20 --zlib 1 --zlib-ops 1'],
  ])('finds %s right', async (_, options) => {
    const output = await guest.check(`stress-ng ${options} --verify 2>&1`, 200_000)
    expect(output).toMatch(/successful run completed/)
    expect(output).not.toMatch(/fail/i)
  })
})

describe('openssl agrees with the host', () => {
  const text = Array.from({ length: 200_000 }, (_, i) => `${i + 1}\n`).join('')
  beforeAll(async () => {
    await guest.check('seq 1 200000 > /tmp/numbers')
  })

  test.each(['md5', 'sha1', 'sha256', 'sha512', 'sha3-256', 'blake2b512'])('on %s', async (name) => {
    expect(await guest.check(`openssl dgst -r -${name} /tmp/numbers | cut -d' ' -f1`)).toBe(
      `${createHash(name).update(text).digest('hex')}\n`,
    )
  })

  test.each([
    ['aes-128-cbc', 16, 16],
    ['aes-256-ctr', 32, 16],
    ['chacha20', 32, 16],
  ] as const)('on %s', async (name, keyBytes, ivBytes) => {
    const key = Buffer.alloc(keyBytes, 0x5a)
    const iv = Buffer.alloc(ivBytes, 0xa5)
    const cipher = createCipheriv(name, key, iv)
    const sealed = Buffer.concat([cipher.update(text), cipher.final()])
    const command = `openssl enc -${name} -K ${key.toString('hex')} -iv ${iv.toString('hex')} -in /tmp/numbers`
    expect(await guest.check(`${command} | sha256sum | cut -d' ' -f1`)).toBe(
      `${createHash('sha256').update(sealed).digest('hex')}\n`,
    )
  })

  test("on the checksum of a file that comes from the guest's disk", async () => {
    const [first, second] = (
      await guest.check(
        'for i in 1 2; do sha256sum /usr/bin/python3.11; echo 3 > /proc/sys/vm/drop_caches; done',
      )
    )
      .trim()
      .split('\n')
    expect(first).toBe(second)
  })
})

describe('python3', () => {
  test('computes as its own tests of arithmetic and floating point demand', async () => {
    // Two processes, one for each vCPU; their lists take about as long. Left out are the tests that
    // compare two times they took, which a busy host fails.
    const lists = [
      'test_math test_float test_cmath test_complex',
      'test_long test_int test_strtod test_struct',
    ]
    const runs = lists.map((list, i) => {
      const command = `python3 -m test -i '*test_denial_of_service_prevented*' ${list}`
      return `${command} > /tmp/py${i} 2>&1 &`
    })
    const output = await guest.check(`${runs.join(' ')} wait; tail -n 30 /tmp/py0 /tmp/py1`, 600_000)
    expect(output.match(/^== Tests result: SUCCESS ==/gm)?.length, output).toBe(2)
  }, 620_000)
})

describe('gcc', () => {
  test('compiles a program that runs', async () => {
    const source = `
#include <stdio.h>
#include <math.h>
int main(void) {
  unsigned long sum = 0;
  double root = 0;
  for (unsigned long i = 1; i <= 100000; i++) sum = sum * 31 + i * i, root += sqrt((double)i);
  printf("%lu %.6f\\n", sum, root);
}`
    let sum = 0n
    let root = 0
    for (let i = 1n; i <= 100_000n; i++) {
      sum = BigInt.asUintN(64, sum * 31n + i * i)
      root += Math.sqrt(Number(i))
    }
    const encoded = Buffer.from(source).toString('base64')
    await guest.check(`echo ${encoded} | base64 -d > /tmp/a.c`)
    for (const compiler of ['gcc -O0', 'gcc -O2', 'gcc -O3 -march=x86-64-v2', 'tcc']) {
      await guest.check(`${compiler} -o /tmp/a /tmp/a.c -lm`, 120_000)
      expect(await guest.check('/tmp/a')).toBe(`${sum} ${root.toFixed(6)}\n`)
    }
  })
})

test('leaves a kernel log without trouble', async () => {
  expect(kernelTrouble(await guest.check('dmesg'))).toEqual([])
})
