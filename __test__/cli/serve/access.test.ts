/** Who may ask, by the options of `serve`. */

import { hostname } from 'node:os'
import { expect, it } from 'vitest'
import { parseAccess } from '../../../ts/cli/serve/access.js'
import type { ServeOptions } from '../../../ts/cli/serve/options.js'
import type { AccessRules } from '../../../ts/server/access.js'
import { parseListenAddress } from '../../../ts/server/address.js'

const LISTEN = parseListenAddress('127.0.0.1:0', '--listen')

const accessOf = (allowHost: string): Promise<AccessRules> =>
  parseAccess({ allowHost } as ServeOptions, LISTEN, new AbortController().signal)

it('takes names as requests are compared with them', async () => {
  const { hostNames } = await accessOf('Metrics.Example., host7 ,,')
  const own = ['localhost', hostname().toLowerCase()]
  expect(hostNames).toEqual([...own, 'metrics.example', 'host7'])
})

it.each(['https://metrics.example', 'metrics.example:9753', '*.example', 'a b', '[::1]'])(
  'refuses %s, which no request would have as its name',
  async name => {
    await expect(accessOf(`host7,${name}`)).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringMatching(/^--allow-host: '.*' is not the name of a host$/),
    })
  },
)
