/** The files of the page, as `serve` answers with them. */

import { rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { dirname } from 'node:path'
import { expect, it } from 'vitest'
import { pageRoutes } from '../../../ts/cli/serve/page.js'
import { folder } from '../../fixtures/elf.js'

it('a file that could not be read is read at the next request', async () => {
  const file = folder()
  const path = file('index.html', 'first')
  const route = new Map(pageRoutes(dirname(path))).get('/')
  const request = { headers: {} } as IncomingMessage
  rmSync(path)
  await expect(route?.answer(request)).rejects.toThrow('ENOENT')
  file('index.html', 'second')
  expect((await route?.answer(request))?.body.toString()).toBe('second')
})
