// Takes the pictures of docs/dashboard.md: the page of a real `serve` with own guests, in Chromium,
// at three widths and in both themes. They are to be looked at, and then committed. pngquant makes
// them small, where it is installed.
//
//   node scripts/build/page-pictures.mjs [FOLDER]     without FOLDER: docs/images

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium } from 'playwright-core'
import { commandLine } from '../command-line.mjs'
import { root } from '../root.mjs'

const { positionals } = commandLine(import.meta.url, { allowPositionals: true })
const folder = positionals[0] ?? join(root, 'docs/images')

const GUESTS = [
  'guest:stride,pages=60000,rate=40MiB/s,memory=1GiB',
  'guest:random,pages=30000,rate=12MiB/s,memory=512MiB',
  'guest:idle,memory=128MiB',
]
/** The VM that has pictures of its own. */
const SHOWN = GUESTS[0]
const SERVE = ['--every', '1s', '--window', '800ms', '--curve-every', '20s']
const WINDOWS = ['--windows', '50ms,100ms,200ms,500ms,1s,2s']
/** Until each VM has a curve and some windows. */
const WARM_MS = 60_000
const VIEWS = { overview: '#/', vm: `#/vm/${encodeURIComponent(SHOWN)}` }
const SIZES = [
  [360, 780],
  [768, 1024],
  [1440, 1180],
]

mkdirSync(folder, { recursive: true })
const cli = join(root, 'dist/cli.js')
const args = [cli, 'serve', ...GUESTS, ...SERVE, ...WINDOWS, '--listen', '127.0.0.1:0']
const server = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
let said = ''
server.stderr.setEncoding('utf8').on('data', text => {
  said += text
})
const ended = once(server, 'close')
try {
  await sleep(WARM_MS)
  const origin = /https?:\/\/[^/\s]+/.exec(said)?.[0]
  if (origin === undefined) throw new Error(`serve says no address:\n${said}`)
  const root = process.getuid() === 0 ? ['--no-sandbox'] : []
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: root })
  for (const [view, hash] of Object.entries(VIEWS))
    for (const theme of ['light', 'dark'])
      for (const [width, height] of SIZES) {
        const page = await browser.newPage({ viewport: { width, height }, colorScheme: theme })
        await page.goto(`${origin}/${hash}`)
        await page.locator('.verdict').first().waitFor()
        await sleep(1500)
        const path = join(folder, `dashboard-${view}-${width}-${theme}.png`)
        await page.screenshot({ path })
        await page.close()
        spawnSync('pngquant', ['--force', '--strip', '--ext', '.png', '64', path])
        console.log(path)
      }
  await browser.close()
} finally {
  server.kill('SIGTERM')
  await ended
}
